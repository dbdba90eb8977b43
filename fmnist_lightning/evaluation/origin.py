"""How a run was made, as its report shows it: hyperparameters, those of a user's own model among them, and times."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class Origin:
    """What a report needs to know of a run beyond its summary.

    Args:
        config: resolved.
        folder: the run directory.
        command: that repeats the run; None if it is not known.
    """

    config: DictConfig
    folder: Path
    command: str | None


def describe_hyperparameters(config: DictConfig) -> dict[str, str]:
    """The hyperparameters of a resolved configuration by name, as text."""
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    model, optimizer, data, trainer = (dict(plain[group]) for group in ("model", "optimizer", "data", "trainer"))
    learning_rate = _text(optimizer.pop("lr", "unknown"))
    regularization = {
        name: _text(model.pop(key))
        for key, name in (("dropout", "dropout"), ("batch_norm", "batch norm"), ("label_smoothing", "label smoothing"))
        if key in model
    }
    clip = trainer["gradient_clip_val"]
    return {
        "model": _object(model),
        **regularization,
        "optimizer": _object(optimizer),
        "learning rate": learning_rate,
        "scheduler": _object(plain["scheduler"]) if plain["scheduler"] else "none: a constant learning rate",
        "batch size": _batch_size(data["batch_size"], trainer),
        **({"gradient clipping": _text(clip)} if clip is not None else {}),
        "epochs": f"at most {trainer['max_epochs']}",
        **_weight_averaging(plain["callbacks"].get("ema")),
        **_distillation(plain["callbacks"].get("distillation")),
        "early stopping": _early_stopping(plain["callbacks"].get("early_stopping")),
        "augmentation": _augmentation(data),
    }


def _augmentation(data: Mapping[str, Any]) -> str:
    names = ("flip", "crop") if data["augment"] is True else data["augment"] or ()
    if names == "photos":
        return "batches that resemble photos, 15 % of them outliers"
    low, high = data.get("erase_area", (0, 0))  # the configs of earlier versions have no such keys
    descriptions = {
        "flip": "random horizontal flip",
        "crop": f"{data.get('crop_padding', 2)}-pixel crop",
        "erase": f"{low:.0%} to {high:.0%} of an image erased with probability {data.get('erase_probability')}",
    }
    return ", ".join(descriptions[name] for name in names) or "none"


def class_of(config: Mapping[str, Any]) -> str:
    """The name of the class that a config instantiates, without its module."""
    return str(config.get("_target_", "unknown")).rpartition(".")[2]


def _object(config: Mapping[str, Any]) -> str:
    typed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    arguments = ", ".join(f"{key}={value}" for key, value in typed.items() if not key.startswith("_"))
    return f"{class_of(config)} ({arguments})" if arguments else class_of(config)


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _batch_size(batch_size: int, trainer: Mapping[str, Any]) -> str:
    several = (trainer["devices"], trainer["num_nodes"]) != (1, 1)
    accumulated = trainer["accumulate_grad_batches"]
    more = f", gradients of {accumulated} batches per step" if accumulated != 1 else ""
    return f"{batch_size}{' per device' if several else ''}{more}"


def _early_stopping(config: Mapping[str, Any] | None) -> str:
    if not config:
        return "none"
    return f"patience {config['patience']} epochs, monitors {config['monitor']}"


def _weight_averaging(config: Mapping[str, Any] | None) -> dict[str, str]:
    return {"weight averaging": f"exponential, decay {config['decay']}"} if config else {}


def _distillation(config: Mapping[str, Any] | None) -> dict[str, str]:
    if not config:
        return {}
    values = f"temperature {config['temperature']}, label weight {config['label_weight']}"
    return {"distillation": f"teachers {', '.join(config['teachers'])}; {values}"}


def format_seconds(seconds: float) -> str:
    """A duration such as "4.2 s", "48 s", "6 min 40 s" or "2 h 5 min"."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
