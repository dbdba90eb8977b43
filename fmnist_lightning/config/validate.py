"""Validates the command line before torch is imported or anything is created: every value of every job it starts."""

import difflib
import importlib.util
import itertools
import re
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import CONFIG_NAME, Composer, composed, composer, without_hydra
from fmnist_lightning.config.config_files import GROUPS
from fmnist_lightning.config.extras import check_loggers
from fmnist_lightning.config.machine import check_data_root, check_machine
from fmnist_lightning.config.other_templates import equivalent
from fmnist_lightning.config.schema import SCHEMA, first_violation, flatten_keys, is_list, is_number, to_override
from fmnist_lightning.config.trainer_arguments import check_trainer, check_trainer_argument, is_trainer_argument
from fmnist_lightning.runs.folders import check_folder, check_subdirs, run_dir

__all__ = ["CONFIG_NAME", "check", "check_composed", "composed", "read_arguments", "without_hydra"]

# Hydra's launchers for several jobs at a time; the extra "sweep" has them
LAUNCHERS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
}
# entries without which there is no metrics.csv, best.ckpt or last.ckpt
REQUIRED_CALLBACKS = ("callbacks.epoch_metrics", "callbacks.best_checkpoint", "callbacks.checkpoint")


class Launch(NamedTuple):
    """What a command line starts: a single run, or a multirun by one of Hydra's launchers; and the overrides of it."""

    multirun: bool
    launcher: str | None
    overrides: list[str]


def check(
    overrides: list[str],
    multirun: bool = False,
    config_dir: str | None = None,
    runs_here: bool = True,
    config_name: str = CONFIG_NAME,
) -> Launch:
    """Composes every configuration that a command line asks for and rejects what cannot run.

    Args:
        overrides: Hydra overrides, as typed.
        multirun: whether -m was typed.
        config_dir: a directory with more config files (Hydra's --config-dir).
        runs_here: whether this machine must have the device and the directory; not if a config is only shown.
        config_name: the primary config (Hydra's --config-name).

    Returns:
        What Hydra will start; `hydra.mode` in a config file or an override counts as -m does.

    Raises:
        ValueError: one line that names the key, what is allowed and the nearest right name.
        hydra.errors.HydraException: what Hydra itself rejects beyond that.
        omegaconf.errors.OmegaConfBaseException: an interpolation that leads nowhere.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise ValueError(f"--config-dir={config_dir}: no such directory")
    with composer(config_dir, config_name) as here:
        overrides = [_empty_for_null(here.loader, typed) for typed in overrides]
        parsed = [_parse(here.loader, typed) for typed in overrides]
        extended = any(override.key_or_group == "hydra.searchpath" for override in parsed)
        for override in parsed:
            if _is_group(here.loader, override.key_or_group) and not extended:
                _check_option(here.loader, override)
        launch, params = _launch(here, parsed, overrides, multirun)
        for override in [] if launch.multirun else parsed:
            if override.is_sweep_override():
                raise ValueError(f"{override.input_line}: several values are several runs, which -m starts")
        # as Hydra's sweeper merges them: what is typed replaces what a config file says
        merged = {override.get_key_element(): override for override in [*params, *parsed]}
        _check_jobs(here, list(merged.values()), overrides, launch, runs_here)
    return launch


def check_composed(cfg: DictConfig, known: Set[str] | None = None) -> None:
    """Rejects a composed configuration that cannot run, wherever its values come from.

    Args:
        cfg: a composed configuration, Hydra's own node included or not.
        known: the keys that it may have; None for any.

    Raises:
        ValueError: naming the override to change.
        omegaconf.errors.OmegaConfBaseException: an interpolation that leads nowhere.
    """
    keys = flatten_keys(cfg)
    added = sorted(set(keys) - known) if known is not None else []
    if unknown := [key for key in added if key[:6] != "hydra." and not is_trainer_argument(key)]:
        raise ValueError(f"{unknown[0]}: no such key")
    OmegaConf.to_container(without_hydra(cfg), resolve=True)
    for group in GROUPS:
        if not OmegaConf.is_dict(cfg.get(group)):
            raise ValueError(f"{group}: missing from the configuration; choose an option: {group}=...")
    for key in REQUIRED_CALLBACKS:
        if OmegaConf.select(cfg, key) is None:
            raise ValueError(f"{key}: missing from the configuration, and no run is complete without it")
    check_trainer(cfg.trainer)
    check_loggers(cfg.logger)
    if violation := first_violation(cfg):
        raise ValueError(violation)
    if cfg.data.batch_size == 1 and "model.batch_norm" in keys and cfg.model.batch_norm:
        raise ValueError("data.batch_size=1: batch normalization needs 2 images or more; add model.batch_norm=false")
    if "optimizer.nesterov" in keys and cfg.optimizer.nesterov and cfg.optimizer.momentum == 0:
        raise ValueError("optimizer.momentum=0: Nesterov's method needs one above 0; add optimizer.nesterov=false")
    clips = cfg.trainer.gradient_clip_val is not None and cfg.trainer.precision not in ("auto", "32-true")
    if clips and "optimizer.fused" in keys and cfg.optimizer.fused:
        raise ValueError(
            f"trainer.gradient_clip_val={cfg.trainer.gradient_clip_val}: with precision {cfg.trainer.precision} "
            "gradients are clipped only without fused kernels; add optimizer.fused=false"
        )


def read_arguments(arguments: list[str], defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Reads KEY=VALUE arguments of a command that composes no configuration.

    Args:
        arguments: as typed; an option such as --config-dir also takes its value as the next argument.
        defaults: the keys that there are, with their values if none is typed.

    Raises:
        ValueError: an argument without "=", or an unknown key.
    """
    values = dict(defaults)
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--") and argument in defaults:
            argument = f"{argument}={next(rest, '')}"
        key, equals, value = argument.partition("=")
        if key not in defaults or not equals:
            near = difflib.get_close_matches(key, defaults, n=1)
            hint = f"; did you mean {near[0]}={value}?" if near else "."
            raise ValueError(
                f"{argument}: no such argument{hint} Allowed are {', '.join(f'{k}=...' for k in defaults)}"
            )
        values[key] = value
    return values


def _parse(loader: ConfigLoader, typed: str, source: str = "") -> Override:
    try:
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([typed])
    except HydraException:
        raise ValueError(
            f"{source}{typed}: not readable as KEY=VALUE; special characters go in quotes: 'KEY=\"VALUE\"'"
        ) from None
    if not override.is_sweep_override():
        return override
    if not override.is_discrete_sweep():
        raise ValueError(
            f"{source}{typed}: a sweep runs listed values, and interval() lists none; type {override.key_or_group}=A,B"
        )
    values = [(type(value), value) for value in _values(override)]  # 1 batch and 1.0 of all batches differ
    if not values:
        raise ValueError(f"{source}{typed}: an empty list of values")
    if twice := [value for i, (_, value) in enumerate(values) if values[i] in values[:i]]:
        raise ValueError(f"{source}{typed}: {to_override(twice[0])} is listed twice")
    return override


def _launch(here: Composer, parsed: list[Override], typed: list[str], multirun: bool) -> tuple[Launch, list[Override]]:
    """What Hydra will start, and the overrides that hydra.sweeper.params in a config file adds to a multirun."""
    known = [
        override.input_line or ""
        for override in parsed
        if not override.is_sweep_override()
        and (_is_group(here.loader, override.key_or_group) or override.key_or_group.startswith("hydra."))
    ]
    cfg = here.compose(known, RunMode.MULTIRUN)
    choices = cfg.hydra.runtime.choices
    if cfg.hydra.mode is not None:  # which Hydra puts above -m
        multirun = cfg.hydra.mode == RunMode.MULTIRUN
    if not multirun:
        return Launch(False, None, typed), []
    if choices["hydra/sweeper"] != "basic":
        raise ValueError(f"hydra/sweeper={choices['hydra/sweeper']}: allowed is basic, which runs listed values")
    params = OmegaConf.to_container(cfg.hydra.sweeper.params or OmegaConf.create({}), resolve=True)
    assert isinstance(params, dict)
    overrides = [_parse(here.loader, f"{key!s}={value!s}", "hydra.sweeper.params: ") for key, value in params.items()]
    for override in overrides:
        if _is_group(here.loader, override.key_or_group):
            _check_option(here.loader, override)
    return Launch(True, choices["hydra/launcher"], typed), overrides


def _check_jobs(here: Composer, overrides: list[Override], typed: list[str], launch: Launch, runs_here: bool) -> None:
    """Checks each value of each override once per choice of groups; their product may be huge."""
    groups = [o for o in overrides if _is_group(here.loader, o.key_or_group) or o.key_or_group == "hydra.searchpath"]
    values = [override for override in overrides if override not in groups]
    group_options, value_options = [_single(o) for o in groups], [_single(o) for o in values]

    def check_job(cfg: DictConfig, known: Set[str]) -> None:
        check_composed(cfg, known)
        if cfg.hydra.output_subdir is not None:
            raise ValueError("hydra.output_subdir: must be null; the run itself writes .hydra")
        if launch.multirun and cfg.resume is not None:
            raise ValueError(
                f"resume={cfg.resume}: resumes a single run; to resume a sweep, repeat its command with hydra.sweep.dir"
            )
        if runs_here and cfg.resume in (None, "auto"):  # else the run has a configuration of its own
            check_machine(cfg.trainer, run_dir(cfg), launch.launcher)
            check_data_root(cfg.data)

    checked_folder = False
    for choice in itertools.product(*group_options):
        base = here.compose([override.input_line or "" for override in choice])
        keys = flatten_keys(base)
        known = set(keys)
        for override in values:
            _check_value(here.loader, base, keys, override)
        cfg = here.compose_job(choice, [options[0] for options in value_options])
        check_job(cfg, known)
        if runs_here and not checked_folder and cfg.resume in (None, "auto"):
            check_folder(cfg, launch.multirun, typed, lambda job: _compose_job(here, job))
            checked_folder = True
        for first, *others in value_options:
            for override in others:
                OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
                check_job(cfg, known)
            if others:
                OmegaConf.update(cfg, first.key_or_group, first.value(), force_add=True)
    if launch.multirun and runs_here:
        jobs = itertools.product(itertools.product(*group_options), itertools.product(*value_options))
        check_subdirs(cfg, (here.compose_job(*job) for job in jobs))


def _compose_job(here: Composer, overrides: Sequence[str]) -> DictConfig:
    parsed = [_parse(here.loader, typed) for typed in overrides]
    groups = [override for override in parsed if _is_group(here.loader, override.key_or_group)]
    return here.compose_job(groups, [override for override in parsed if override not in groups])


def _is_group(loader: ConfigLoader, key: str) -> bool:
    return "/" in key or key in _groups(loader)


def _groups(loader: ConfigLoader) -> list[str]:
    return [name for name in loader.list_groups("") if name != "hydra"]


def _empty_for_null(loader: ConfigLoader, typed: str) -> str:
    """`experiment=null` as Hydra accepts it: null is a default's value, but no override's."""
    group = typed.lstrip("+").partition("=")[0]
    optional = group in _groups(loader) and group not in GROUPS
    return re.sub(r"(?<=[=,])null(?=,|$)", "[]", typed) if optional else typed


def _values(override: Override) -> list[Any]:
    """The values of an override, without the quotes in which they were typed."""
    if override.is_sweep_override():
        return [Override._convert_value(value) for value in override.sweep_iterator()]
    return [override.value()]


def _single(override: Override) -> list[Override]:
    """The override, or for a sweep the overrides of its jobs, of a single value each."""
    if not override.is_sweep_override():
        return [override]
    typed = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return OverridesParser.create(config_loader=override.config_loader).parse_overrides(typed)


def _check_option(loader: ConfigLoader, override: Override) -> None:
    group, typed = override.key_or_group, override.input_line
    if override.is_delete() and group not in GROUPS:
        return
    if override.is_delete():
        raise ValueError(f"{typed}: a group cannot be removed; choose another option: {group}=...")
    options = loader.get_group_options(group, ObjectType.CONFIG)
    for value in _values(override):
        for option in value if is_list(value) else [value]:
            _check_one_option(group, to_override(option), options, typed or "")


def _check_one_option(group: str, option: str, options: list[str], typed: str) -> None:
    if group == "hydra/launcher" and option in LAUNCHERS and not _is_installed(LAUNCHERS[option]):
        raise ValueError(f"{typed}: not installed; pip install 'fmnist_lightning[sweep]' brings it")
    if option not in options:
        near = difflib.get_close_matches(option, options, n=1)
        hint = f"; did you mean {group}={near[0]}?" if near else ""
        other = equivalent(f"{group}={option}", option)
        hint = f"; {other}" if other else hint
        raise ValueError(f"{group}={option}: allowed are {', '.join(options) or 'none'}{hint}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is its parent
        return False


def _check_value(loader: ConfigLoader, base: DictConfig, keys: list[str], override: Override) -> None:
    key, typed = override.key_or_group, override.input_line
    if key.startswith("hydra.") and (override.is_add() or override.is_force_add()):
        return  # Hydra's own schema says which keys it takes
    if key not in keys and key.startswith("trainer.") and not override.is_delete():
        for value in _values(override):
            check_trainer_argument(key.removeprefix("trainer."), value)
        if not (override.is_add() or override.is_force_add()):
            raise ValueError(f"{typed}: not in the configuration yet; type +{typed}")
        return
    if key not in keys or key.rpartition(".")[2].startswith("_"):
        raise ValueError(f"{typed}: {_unknown(key, override, keys, loader)}")
    if override.is_delete() and (key in REQUIRED_CALLBACKS or not re.fullmatch(r"(callbacks|logger)\.\w+", key)):
        raise ValueError(
            f"{typed}: cannot be removed; only callbacks and loggers can, and not {', '.join(REQUIRED_CALLBACKS)}"
        )
    if override.is_delete() or key.startswith("hydra."):
        return
    current = OmegaConf.select(base, key)
    for value in _values(override):
        if isinstance(value, str) and "${" in value:
            continue  # checked once it is resolved
        if allowed := _what_else(key, value, current):
            raise ValueError(f"{key}={to_override(value)}: must be {allowed}")


def _unknown(key: str, override: Override, keys: list[str], loader: ConfigLoader) -> str:
    """Why key is rejected, with the nearest name and the names beside it."""
    if other := equivalent(key, override.get_value_string() if "=" in (override.input_line or "") else "VALUE"):
        return f"no such group or key; {other}"
    groups = _groups(loader)
    parent, _, name = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == parent]
    siblings = [k for k in siblings if not k.startswith("_") and k != "hydra"]
    near = difflib.get_close_matches(name, siblings, n=1)
    elsewhere = [k for k in keys if k.endswith(f".{name}") and not k.startswith("hydra.")]
    hint = ""
    if near and not parent and near[0] in groups:
        options = loader.get_group_options(near[0], ObjectType.CONFIG)
        value = override.get_value_string() if "=" in (override.input_line or "") else ""
        suggested = f"{near[0]}={value}" if value in options else f"{near[0]}={'|'.join(options)}"
        hint = f"; did you mean {suggested}?"
    elif near:
        hint = f"; did you mean {parent}.{near[0]}?" if parent else f"; did you mean {near[0]}?"
    elif elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    if parent and siblings:
        return f"no such key{hint or '.'} {parent} has {', '.join(siblings)}"
    others = [k for k in keys if "." not in k and k not in groups and k != "hydra"]
    return f"no such group or key{hint or '.'} Groups are {', '.join(groups)}; keys are {', '.join(others)}"


def _what_else(key: str, value: Any, current: Any) -> str | None:
    """What is allowed instead of value; a key without a limit takes values of the type that its yaml has."""
    if key in SCHEMA:
        return None if SCHEMA[key].is_valid(value) else SCHEMA[key].allowed
    if isinstance(current, bool):
        return None if isinstance(value, bool) else "true or false"
    if is_number(current):
        return None if is_number(value) else "a number"
    if OmegaConf.is_list(current):
        return None if is_list(value) else "a list"
    if OmegaConf.is_dict(current):
        return None if isinstance(value, dict) else f"set key by key: {', '.join(map(str, current))}"
    return None
