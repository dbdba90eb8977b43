"""Validates a stored config, which is untrusted input: nothing in it is executed or resolved before."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config.config_files import GROUPS, scan_config_files, walk
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.schema import SCHEMA, first_violation
from fmnist_lightning.config.trainer_arguments import is_trainer_argument
from fmnist_lightning.runs.files import read_text

OWN_KEY = re.compile(r"\$\{[\w.]+\}")  # an interpolation without a resolver, the only kind that is allowed
MAX_CONFIG_BYTES = 2**20  # a config has a few thousand
# classes of earlier versions; such a run can be evaluated, but not resumed
FORMER_CLASSES = {
    ("callbacks.epoch_metrics._target_", "fmnist_lightning.callbacks.EpochMetrics"),
    ("callbacks.progress._target_", "fmnist_lightning.callbacks.EpochProgress"),
    ("callbacks.checkpoint._target_", "fmnist_lightning.training_state.NewestCheckpoint"),
    ("callbacks.checkpoint._target_", "fmnist_lightning.checkpoints.NewestCheckpoint"),
    ("callbacks.checkpoint._target_", "lightning.pytorch.callbacks.ModelCheckpoint"),
    ("scheduler._target_", "torch.optim.lr_scheduler.OneCycleLR"),
}
_METRIC = re.compile(r"(train|val|test)/\w+")


def read_config(
    path: Path, changes: Mapping[str, Any] | None = None, config_dirs: Sequence[Path] = (), resume: bool = False
) -> DictConfig:
    """A composed config, validated before anything in it is instantiated or resolved.

    Args:
        path: of the file.
        changes: values by key, which replace those in the file.
        config_dirs: the user's config directories (--config-dir).
        resume: whether the run will train; otherwise it is evaluated, and may have keys of earlier versions.

    Raises:
        ValueError: not the config of a run, a key or `_target_` that no config file names, or a value that uses a
            resolver, such as one that reads an environment variable.
    """
    try:
        text = read_text(path, MAX_CONFIG_BYTES)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it has YAML aliases, which may expand to any size")
        config = OmegaConf.create(text)
        assert isinstance(config, DictConfig)
        _migrate(config)
        for key, value in (changes or {}).items():
            OmegaConf.update(config, key, value, force_add=True)
        plain = OmegaConf.to_container(config)
    except (AssertionError, ValueError, yaml.YAMLError, OmegaConfBaseException, OSError, RecursionError) as error:
        what = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: not a configuration ({what})") from error
    assert isinstance(plain, dict)
    for group in GROUPS:
        if not isinstance(plain.get(group), dict):
            raise ValueError(f"{path}: not the configuration of a run, {group} is missing")
    if "seed" not in plain:
        raise ValueError(f"{path}: not the configuration of a run, seed is missing")
    run_dir = path.parent.parent.resolve()
    if foreign := _unnamed(plain, changes or {}, config_dirs, resume, run_dir):
        raise ValueError(f"{path}: {foreign}")
    if foreign := first_resolver(plain):
        raise ValueError(
            f"{path}: {foreign} uses a resolver, which is not allowed in a stored config; replace it there by its value"
        )
    try:
        violation = first_violation(config)
    except (OmegaConfBaseException, RecursionError) as error:  # an undefined or circular interpolation
        violation = format_error(error)
    if violation:
        raise ValueError(f"{path}: {violation}")
    return config


def _migrate(config: DictConfig) -> None:
    """Version 0.1 stored Adam's learning rate with the model. Resolves nothing: the values are not validated yet."""
    plain = OmegaConf.to_container(config)
    model, optimizer = (plain.get(group) if isinstance(plain, dict) else None for group in ("model", "optimizer"))
    if isinstance(model, dict) and isinstance(optimizer, dict) and "adam_lr" in model:
        if optimizer.get("lr") == "${model.adam_lr}":
            OmegaConf.update(config, "optimizer.lr", model["adam_lr"])
        del config.model["adam_lr"]


def _unnamed(
    plain: dict[Any, Any], changes: Mapping[str, Any], config_dirs: Sequence[Path], resume: bool, run_dir: Path
) -> str | None:
    """What is wrong with the first `_target_` or key that no config file names."""
    files = scan_config_files(config_dirs)
    values = files.values | {(key, str(value)) for key, value in changes.items()}
    for key, value, _ in walk(plain):
        foreign = key.endswith("_target_") and (key, str(value)) not in files.values
        if foreign and resume and (key, str(value)) in FORMER_CLASSES:
            return f"{key}={value}: of version 0.1.0 or earlier; resume the run with that version, or only evaluate it"
        if foreign and (key, str(value)) not in FORMER_CLASSES:
            return f"{key}={value}: no config file names it; if it is your own code, add --config-dir DIR"
    for key, value, _ in walk(plain):
        group = key.partition(".")[0]
        if key not in files.keys and not key.endswith(("[]", "_target_")) and not is_trainer_argument(key):
            if resume or group in ("data", "model"):
                return (
                    f"{key} is not a key of the config files; remove it there, or add --config-dir DIR if it is yours"
                )
        # otherwise a malicious config could make a logger write or send to any place
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


def first_resolver(plain: Any) -> str | None:
    """The first KEY=VALUE of an unresolved config that uses a resolver, such as `${oc.env:HOME}`."""
    for key, value in _leaves(plain):
        if isinstance(value, str) and "${" in value and not OWN_KEY.fullmatch(value):
            return f"{key}={value}"
    return None


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested config, with their keys."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from [(f"{key}.{name}", child)] if name == "_target_" else _leaves(child, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _leaves(child, f"{key}.{index}")
    else:
        yield key, node
