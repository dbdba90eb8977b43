"""Validates a stored config, which is untrusted input: nothing in it is executed or resolved before."""

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config.config_files import GROUPS, ConfigFiles, scan_config_files, walk
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.schema import SCHEMA, first_violation
from fmnist_lightning.config.trainer_arguments import is_trainer_argument
from fmnist_lightning.runs.files import read_text

_PLAIN_INTERPOLATION = re.compile(r"\$\{[\w.]+\}")  # of another key, without a resolver
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


def read_config(path: Path, config_dirs: Sequence[Path] = ()) -> DictConfig:
    """A stored config, validated for evaluating its run before anything in it is instantiated or resolved.

    It may name what conf/ and the user's config directories (--config-dir) name.

    Raises:
        ValueError: not the config of a run, a key or `_target_` that no config file names, or a value that is not
            allowed or uses a resolver, such as one that reads an environment variable.
    """
    try:
        text = read_text(path, MAX_CONFIG_BYTES)
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise ValueError("it has YAML aliases, which may expand to any size")
        config = OmegaConf.create(text)
        assert isinstance(config, DictConfig)
        _migrate(config)
    except (AssertionError, ValueError, yaml.YAMLError, OmegaConfBaseException, OSError, RecursionError) as error:
        what = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: not a configuration ({what})") from error
    _validate(config, path, {}, config_dirs, resume=False)
    return config


def override_config(
    config: DictConfig, path: Path, changes: Mapping[str, Any], config_dirs: Sequence[Path] = ()
) -> DictConfig:
    """A stored config with the values that a user typed, by key, validated for resuming its run.

    Unlike for evaluation, every key, and every path or URL of a callback or logger, must be in a config file or typed.
    """
    config = copy.deepcopy(config)
    for key, value in changes.items():
        OmegaConf.update(config, key, value, force_add=True)
    _validate(config, path, changes, config_dirs, resume=True)
    return config


def _migrate(config: DictConfig) -> None:
    """Version 0.1 stored Adam's learning rate with the model. Resolves nothing: the values are not validated yet."""
    plain = OmegaConf.to_container(config)
    model, optimizer = (plain.get(group) if isinstance(plain, dict) else None for group in ("model", "optimizer"))
    if isinstance(model, dict) and isinstance(optimizer, dict) and "adam_lr" in model:
        if optimizer.get("lr") == "${model.adam_lr}":
            OmegaConf.update(config, "optimizer.lr", model["adam_lr"])
        del config.model["adam_lr"]


def _validate(
    config: DictConfig, path: Path, changes: Mapping[str, Any], config_dirs: Sequence[Path], resume: bool
) -> None:
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    missing = [group for group in GROUPS if not isinstance(plain.get(group), dict)]
    if missing or "seed" not in plain:
        raise ValueError(f"{path}: not the configuration of a run, {[*missing, 'seed'][0]} is missing")
    run_dir = path.parent.parent.resolve()
    try:
        violation = (
            _unknown_target_or_key(plain, changes, scan_config_files(config_dirs), resume, run_dir)
            or _resolver(plain)
            or first_violation(config)
        )
    except (OmegaConfBaseException, RecursionError) as error:  # an undefined or circular interpolation
        violation = format_error(error)
    if violation:
        raise ValueError(f"{path}: {violation}")


def _unknown_target_or_key(
    plain: dict[Any, Any], changes: Mapping[str, Any], files: ConfigFiles, resume: bool, run_dir: Path
) -> str | None:
    """What is wrong with the first `_target_` or key that no config file names."""
    for key, value, _ in walk(plain):
        if not key.endswith("_target_") or (key, str(value)) in files.values:
            continue
        if (key, str(value)) not in FORMER_CLASSES:
            return f"{key}={value}: no config file names it; if it is your own code, add --config-dir DIR"
        if resume:
            return f"{key}={value}: of version 0.1.0 or earlier; resume the run with that version, or only evaluate it"
    allowed = files.values | {(key, str(value)) for key, value in changes.items()}
    for key, value, _ in walk(plain):
        if key not in files.keys and not key.endswith(("[]", "_target_")) and not is_trainer_argument(key):
            if resume or key.startswith(("data.", "model.")):
                return (
                    f"{key} is not a key of the config files; remove it there, or add --config-dir DIR if it is yours"
                )
        elif resume and (key, str(value)) not in allowed and _is_foreign_path(key, value, run_dir):
            return f"{key}={value}: a path or URL that no config file has; type {key}=... or add --config-dir DIR"
    return None


def _is_foreign_path(key: str, value: Any, run_dir: Path) -> bool:
    """Whether a callback or logger would write to or read from outside the run's directory, or send to a URL."""
    if not key.startswith(("callbacks.", "logger.")) or key.removesuffix(".[]") in SCHEMA:
        return False
    if not isinstance(value, str) or _METRIC.fullmatch(value):
        return False
    if "://" not in value and Path(value).resolve().is_relative_to(run_dir):
        return False  # ${hydra:runtime.output_dir} in the user's config file
    return re.search(r"[/\\]", value) is not None


def _resolver(plain: Any) -> str | None:
    for key, value, _ in walk(plain):
        if isinstance(value, str) and "${" in value and not _PLAIN_INTERPOLATION.fullmatch(value):
            return f"{key}={value} uses a resolver, which is not allowed in a stored config; replace it by its value"
    return None
