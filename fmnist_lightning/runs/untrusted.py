"""What is believed of a config and a summary that are found on disk: data, of which nothing is run or looked up."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config.config_files import GROUPS, scan_config_files, walk
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.monitored import BEST
from fmnist_lightning.config.schema import SCHEMA, first_violation, is_number
from fmnist_lightning.config.trainer_arguments import is_trainer_argument

KEY_OF_ITS_OWN = re.compile(r"\$\{[\w.]+\}")  # all the interpolation that a stored config needs
MAX_CONFIG_BYTES = 2**20  # bytes of a config or a summary; ours have some thousand
STATUSES = ("running", "completed", "partial", "interrupted", "failed")
# named by earlier versions; such a run is scored, but not resumed
FORMER = {
    ("callbacks.epoch_metrics._target_", "fmnist_lightning.callbacks.EpochMetrics"),
    ("callbacks.progress._target_", "fmnist_lightning.callbacks.EpochProgress"),
    ("callbacks.checkpoint._target_", "fmnist_lightning.training_state.NewestCheckpoint"),
    ("callbacks.checkpoint._target_", "fmnist_lightning.checkpoints.NewestCheckpoint"),
    ("callbacks.checkpoint._target_", "lightning.pytorch.callbacks.ModelCheckpoint"),
    ("scheduler._target_", "torch.optim.lr_scheduler.OneCycleLR"),
}
_METRIC = re.compile(r"(train|val|test)/\w+")


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(value.get(measure)) for measure in ("loss", "accuracy"))


def _is_monitored(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("metric"), str)
        and value.get("mode") in BEST
        and is_number(value.get("value"))
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# what this project itself reads of a summary, which may come from elsewhere
SUMMARY_HOLDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "status": (f"one of {', '.join(STATUSES)}", lambda v: v in STATUSES),
    "overrides": ("a list of text", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "val": ("scores", _is_scores),
    "test": ("scores", _is_scores),
    "best_epoch": ("a number", is_number),
    "monitored": ("a metric, its mode and value", _is_monitored),
    "partial": ("null or text", lambda v: v is None or _is_text(v)),
    "logger_runs": ("ids", lambda v: isinstance(v, dict) and all(re.fullmatch(r"\w+", str(run)) for run in v.values())),
    "epochs": ("a number", is_number),
    "fit_seconds": ("a number", is_number),
    "data": ("text", _is_text),
    "data_note": ("text or null", lambda v: v is None or _is_text(v)),
    "data_sha256": ("text", _is_text),
    "split_sha256": ("text", _is_text),
    "precision": ("a precision", lambda v: v != "auto" and SCHEMA["trainer.precision"].is_valid(v)),
    "resumed": ("a list of parts", lambda v: isinstance(v, list) and all(isinstance(part, dict) for part in v)),
}


def read_config(
    path: Path, changes: Mapping[str, Any] | None = None, folders: Sequence[Path] = (), resume: bool = False
) -> DictConfig:
    """A composed config, as data: checked before anything in it is instantiated or resolved.

    Args:
        path: of the file.
        changes: values by key, in place of those in the file.
        folders: of the user's own config files, typed as --config-dir.
        resume: whether the run will train; else it is scored, for which keys of earlier versions do no harm.

    Raises:
        ValueError: no config of a run, a key or `_target_` that no config file at hand names, or a value that would be
            read from somewhere else than the config itself, such as the environment.
    """
    try:
        text = _read(path)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it has aliases, which may stand for any size")
        config = OmegaConf.create(text)
        assert isinstance(config, DictConfig)
        _migrate(config)
        for key, value in (changes or {}).items():
            OmegaConf.update(config, key, value, force_add=True)
        plain = OmegaConf.to_container(config)
    except (AssertionError, ValueError, yaml.YAMLError, OmegaConfBaseException, OSError, RecursionError) as error:
        what = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: holds no configuration ({what})") from error
    assert isinstance(plain, dict)
    for group in GROUPS:
        if not isinstance(plain.get(group), dict):
            raise ValueError(f"{path}: no configuration of a run, {group} is missing")
    if "seed" not in plain:
        raise ValueError(f"{path}: no configuration of a run, seed is missing")
    run_dir = path.parent.parent.resolve()
    if foreign := _unnamed(plain, changes or {}, folders, resume, run_dir):
        raise ValueError(f"{path}: {foreign}")
    if foreign := first_resolver(plain):
        raise ValueError(
            f"{path}: {foreign} would be read from elsewhere, which a stored config may not; "
            "replace it there by its value"
        )
    try:
        broken = first_violation(config)
    except (OmegaConfBaseException, RecursionError) as error:  # an interpolation that leads nowhere, or in a circle
        broken = format_error(error)
    if broken:
        raise ValueError(f"{path}: {broken}")
    return config


def _migrate(config: DictConfig) -> None:
    """Version 0.1 stored Adam's learning rate with the model. Nothing is resolved: the values are not validated yet."""
    plain = OmegaConf.to_container(config)
    model, optimizer = (plain.get(group) if isinstance(plain, dict) else None for group in ("model", "optimizer"))
    if isinstance(model, dict) and isinstance(optimizer, dict) and "adam_lr" in model:
        if optimizer.get("lr") == "${model.adam_lr}":
            OmegaConf.update(config, "optimizer.lr", model["adam_lr"])
        del config.model["adam_lr"]


def _unnamed(
    plain: dict[Any, Any], changes: Mapping[str, Any], folders: Sequence[Path], resume: bool, run_dir: Path
) -> str | None:
    """What is wrong with the first `_target_` or key that no config file at hand names."""
    files = scan_config_files(folders)
    values = files.values | {(key, str(value)) for key, value in changes.items()}
    for key, value, _ in walk(plain):
        foreign = key.endswith("_target_") and (key, str(value)) not in files.values
        if foreign and resume and (key, str(value)) in FORMER:
            return f"{key}={value}: of version 0.1.0 or earlier; resume the run with that version, or only evaluate it"
        if foreign and (key, str(value)) not in FORMER:
            return f"{key}={value}: no config file names it; if it is your own code, add --config-dir DIR"
    for key, value, _ in walk(plain):
        group = key.partition(".")[0]
        if key not in files.keys and not key.endswith(("[]", "_target_")) and not is_trainer_argument(key):
            if resume or group in ("data", "model"):
                return f"{key} is no key of the config files; remove it there, or add --config-dir DIR if it is yours"
        # else a config from elsewhere could have a logger write or send to any place
        elif (
            resume
            and group in ("callbacks", "logger")
            and (key, str(value)) not in values
            and _is_place(key, value, run_dir)
        ):
            return f"{key}={value}: a path or URL that no config file has; type {key}=... or add --config-dir DIR"
    return None


def _is_place(key: str, value: Any, run_dir: Path) -> bool:
    if key in SCHEMA or not isinstance(value, str) or _METRIC.fullmatch(value):
        return False
    if "://" not in value and Path(value).resolve().is_relative_to(run_dir):
        return False  # ${hydra:runtime.output_dir} in the user's config file
    return re.search(r"[/\\]", value) is not None


def read_summary(path: Path) -> dict[str, Any]:
    """A summary, as its writer left it.

    Raises:
        ValueError: the file is no JSON object, or what others read of it is not of the kind that was written.
    """
    try:
        summary = json.loads(_read(path), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, {error}") from None
    if not isinstance(summary, dict):
        raise ValueError(f"{path}: damaged, holds no JSON object")
    needed = {"status", "overrides"}
    if "test" in summary:
        needed |= {"val", "data", "data_sha256", "split_sha256", "precision"}
    for name, (allowed, holds) in SUMMARY_HOLDS.items():
        if (name in summary or name in needed) and not holds(summary.get(name)):
            raise ValueError(f"{path}: damaged, {name} is not {allowed}")
    return summary


def _read(path: Path) -> str:
    """A file's text; no pipe, which may never end, and nothing that fills the memory."""
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ValueError(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
    return path.read_text(encoding="utf-8")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def first_resolver(plain: Any) -> str | None:
    """The first KEY=VALUE of an unresolved config whose value its own keys do not hold: from the environment, say."""
    for key, value in _leaves(plain):
        if isinstance(value, str) and "${" in value and not KEY_OF_ITS_OWN.fullmatch(value):
            return f"{key}={value}"
    return None


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested config that is neither list nor dictionary, with its key."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from [(f"{key}.{name}", child)] if name == "_target_" else _leaves(child, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _leaves(child, f"{key}.{index}")
    else:
        yield key, node
