"""Parses and validates the command line of a search, before Optuna or torch is imported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.arguments import argument, parse_arguments
from fmnist_lightning.config.compose import without_hydra
from fmnist_lightning.config.config_files import config_dirs_of, walk
from fmnist_lightning.config.constraints import integer, one_of, to_override
from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.config.devices import count_devices
from fmnist_lightning.config.extras import check_installed
from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.config.monitored import resolve_mode
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.tuning.search import PRUNERS, Search
from fmnist_lightning.tuning.space import Parameter, override_space, read_space

SPACE = "search.space."
DATABASES = {"sqlite:///": "sqlite:///FILE", "postgresql://": "postgresql://USER@HOST/DATABASE"}
LAUNCHERS = ("slurm", "submitit_slurm", "submitit_local")
FIXED = ("hydra.run", "hydra.sweep", "hydra.mode", "hydra/", "resume=")  # by the search
# what a trial measures, and where: trials that differ in it cannot be compared
SHARED = (
    *("data", "data.root", "data.mirrors", "data.source", "data.val_fraction", "data.split_seed", "resume"),
    *(f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy", "limit_val_batches")),
)
SHARED_GROUPS = ("hydra.", "hydra/", "logger", "callbacks.best_checkpoint")


@dataclass
class Arguments:
    """What may be typed."""

    trials: int = argument("search.trials=N", 40, integer(1))
    pruner: str = argument("search.pruner=NAME", "median", one_of(*PRUNERS))
    values: str | None = argument("search.space.KEY=VALUES", None)  # only listed: `parse` takes them out before
    space: str | None = argument("search=NAME", None)
    final: int = argument("search.final=N", 0, integer(0, 100))
    study: str | None = argument("search.study=NAME", None)
    folder: str | None = argument("search.folder=DIR", None)
    storage: str | None = argument("search.storage=URL", None)
    heartbeat: int = argument("search.heartbeat=SECONDS", 20, integer(1))
    jobs: int = argument("search.jobs=N", 1, integer(1))
    config_dir: str | None = argument("--config-dir=DIR", None)
    overrides: list[str] = field(default_factory=list)


def parse(argv: Sequence[str]) -> Search:
    """The search that a command line asks for: every end and choice of its space is valid.

    Raises:
        ValueError: naming the override to change.
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: what Hydra itself rejects.
    """
    if flags := {"-m", "--multirun"} & set(argv):
        raise ValueError(f"{min(flags)}: not in a search, which trains search.trials=N runs; remove it")
    typed = [word for word in argv if word.lstrip("+~").startswith(SPACE)]
    given = parse_arguments(Arguments, [word for word in argv if word not in typed])
    launcher = [override for override in given.overrides if override.startswith(("hydra/launcher=", "hydra.launcher."))]
    fixed = [override for override in given.overrides if override not in launcher]
    _check_before_composing(given, launcher, fixed)
    launch = validate_command_line(fixed, config_dir=given.config_dir, check_hardware=not launcher)
    _check_one_device(launch.cfg.trainer)
    monitor, mode = _objective(launch)
    name = given.space or str(launch.cfg.hydra.runtime.choices.model)
    lines = read_space(name, given.space is not None, config_dirs_of(given.config_dir))
    space = override_space(lines, typed, fixed)
    _check_comparable(space)
    validated = _validate_values(space, given)
    study = given.study or name
    folder = Path(given.folder or f"outputs/search_{study}")
    check_writable(folder, f"search.folder={folder}")
    return Search(
        study=study,
        storage=given.storage or str(folder / "study.journal"),
        folder=folder,
        space=space,
        fixed=fixed,
        config=_values(launch.cfg),
        config_dir=given.config_dir,
        silent=["~callbacks.progress"] if "progress" in launch.cfg.callbacks else [],
        monitor=monitor,
        mode=mode,
        num_trials=given.trials,
        pruner=given.pruner,
        max_epochs=int(launch.cfg.trainer.max_epochs),
        seed=int(launch.cfg.seed),
        heartbeat=given.heartbeat,
        jobs=given.jobs,
        launcher=_launcher_settings(validated) if launcher else {},
        num_final=given.final,
    )


def _check_before_composing(given: Arguments, launcher: Sequence[str], fixed: Sequence[str]) -> None:
    for override in fixed:
        if override.lstrip("+~").startswith(FIXED):
            raise ValueError(f"{override}: not in a search; search.folder=DIR names its directory")
    if launcher and not any(f"hydra/launcher={name}" in launcher for name in LAUNCHERS):
        raise ValueError(
            f"{launcher[0]}: hydra/launcher must be one of {', '.join(LAUNCHERS)}; "
            "on this machine search.jobs=N trains several trials at a time"
        )
    if not launcher and given.jobs > num_cores():
        raise ValueError(f"search.jobs={given.jobs}: must be at most {num_cores()}, the cores of this machine")
    if given.study and not re.fullmatch(r"[\w.-]+", given.study):
        raise ValueError(f"search.study={given.study}: allowed are letters, digits, '.', '-' and '_'")
    if given.storage:
        _check_storage(given.storage)


def _check_storage(storage: str) -> None:
    scheme = re.match(r"(\w[\w+]+):", storage)  # not C:, of a file
    is_file_or_server = storage.startswith(tuple(DATABASES)) and storage not in ("sqlite:///", "sqlite:///:memory:")
    if scheme and not is_file_or_server:  # the rest may have a password
        allowed = ", ".join(["a file", *DATABASES.values()])
        raise ValueError(f"search.storage={scheme[0]}…: allowed are {allowed}")
    check_installed(scheme[1] if scheme else "", f"search.storage={storage.partition('://')[0]}://…")
    if not storage.startswith("postgresql"):
        check_writable(Path(storage.removeprefix("sqlite:///")).parent, f"search.storage={storage}")


def _check_one_device(trainer: DictConfig) -> None:
    single = {
        "strategy": trainer.strategy == "auto",
        "num_nodes": trainer.num_nodes == 1,
        "devices": count_devices(trainer.accelerator, trainer.devices) == 1,
    }
    if several := [f"trainer.{key}={to_override(trainer[key])}" for key, is_one in single.items() if not is_one]:
        raise ValueError(f"{several[0]}: a trial trains on one device; search.jobs=N trains several at a time")


def _check_comparable(space: Mapping[str, Parameter]) -> None:
    for key, parameter in space.items():
        if key in SHARED or key.startswith(SHARED_GROUPS):
            raise ValueError(
                f"{SPACE}{key}={parameter.typed}: must be the same for all trials; type {key}=VALUE, if at all"
            )


def _validate_values(space: Mapping[str, Parameter], given: Arguments) -> Launch:
    """Validates all choices and the ends of all intervals, as if they were typed for a sweep."""
    values = [f"{key}={','.join(parameter.limits())}" for key, parameter in space.items()]
    try:
        return validate_command_line([*given.overrides, *values], multirun=True, config_dir=given.config_dir)
    except ValueError as error:
        key = next((key for key in space if str(error).startswith(f"{key}=")), None)
        if key is None:
            raise
        is_float = "an integer" in str(error) and not space[key].choices
        hint = f"; integers are int({space[key].typed})" * is_float
        raise ValueError(f"{SPACE}{key}={space[key].typed}: {error}{hint}") from None


def _values(cfg: DictConfig) -> dict[str, str]:
    """The values of a configuration by key, not resolved: those that depend on the time would never be equal."""
    leaves = walk(OmegaConf.to_container(without_hydra(cfg)))
    return {key: to_override(value) for key, value, _ in leaves if "[]" not in key and not isinstance(value, dict)}


def _launcher_settings(launch: Launch) -> dict[str, Any]:
    """The settings that Hydra's launcher has for submitit."""
    of_sweep = ("submitit_folder", "name")  # they refer to the directory of a sweep
    node = launch.cfg.hydra.launcher
    node = OmegaConf.masked_copy(node, [key for key in node if key not in of_sweep])
    resolved = OmegaConf.to_container(node, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _objective(launch: Launch) -> tuple[str, str]:
    """The metric that chooses the best checkpoint, and min or max."""
    best = launch.cfg.callbacks.best_checkpoint
    with launch.composer:
        monitor, mode = str(best.monitor), resolve_mode(best).get("mode") or to_override(best.mode)
    if not monitor.startswith("val/"):
        raise ValueError(f"callbacks.best_checkpoint.monitor={monitor}: a search optimizes val/loss or val/accuracy")
    return monitor, mode
