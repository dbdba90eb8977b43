"""Is this command line good? Composes what was asked for and refuses what cannot run, without importing torch."""

import difflib
import importlib.util
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config_files import CONF
from fmnist_lightning.folders import check_folder, run_dir
from fmnist_lightning.limits import LIMITS, beyond_limits, is_list, is_number, keys_of, spelling
from fmnist_lightning.machine import check_machine

CONFIG_NAME = "config"
# Hydra's launchers for several jobs at a time; the extra "sweep" has them
LAUNCHERS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
}
# without these there is no metrics.csv, no best.ckpt, no last.ckpt
NEEDED = ("callbacks.epoch_metrics", "callbacks.best_checkpoint", "callbacks.checkpoint")


def check(overrides: list[str], multirun: bool = False, config_dir: str | None = None, runs_here: bool = True) -> None:
    """Composes the configuration that `overrides` asks for and refuses what cannot run.

    Args:
        overrides: Hydra overrides, as typed.
        multirun: whether comma lists are allowed; then every choice of groups and every value is checked.
        config_dir: a further folder of config files (Hydra's --config-dir).
        runs_here: whether this machine must have the device and the folder; not where a configuration is only shown.

    Raises:
        ValueError: one line that names the key, what is allowed and the nearest right name.
        hydra.errors.HydraException: what Hydra itself refuses beyond that.
        omegaconf.errors.OmegaConfBaseException: an interpolation that leads nowhere.
    """
    if config_dir and not Path(config_dir).is_dir():
        raise ValueError(f"--config-dir={config_dir}: there is no such folder")
    search = _search(config_dir)
    folders = set()  # looked at; where a sweep's is named, that of all its jobs
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        parsed = [_parse(loader, typed, multirun) for typed in overrides]
        groups = [override for override in parsed if _is_group(loader, override.key_or_group)]
        values = [override for override in parsed if override not in groups]
        if not config_dir:  # else the further folder may hold the option; Hydra itself refuses the rest
            for override in groups:
                _check_option(loader, override)
        for choice in itertools.product(*map(_single_values, groups)):
            base = _compose([*search, *choice])
            for override in values:
                _check_value(loader, base, override)
            for job in _one_at_a_time([_single_values(override) for override in values]):
                cfg = _compose([*search, *choice, *job])
                _check_composed(cfg, base)
                if multirun and cfg.resume is not None:
                    raise ValueError(
                        f"resume={cfg.resume}: one run goes on; the same -m command into its hydra.sweep.dir goes on "
                        "with a sweep"
                    )
                if runs_here and cfg.resume in (None, "auto"):  # else the run has a configuration of its own
                    launcher = cfg.hydra.runtime.choices["hydra/launcher"] if multirun else None
                    check_machine(cfg.trainer, run_dir(cfg), launcher)
                    folder = str(cfg.hydra.sweep.dir if multirun else cfg.hydra.run.dir)
                    if folder not in folders:
                        folders.add(folder)
                        check_folder(cfg, multirun, overrides, lambda typed: _compose([*search, *typed]))


def composed(overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """The configuration that overrides ask for, with Hydra's own node; checked by `check` before."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return _compose([*_search(config_dir), *overrides])


def read_arguments(arguments: list[str], defaults: dict[str, str | None]) -> dict[str, str | None]:
    """Reads KEY=VALUE arguments of a command that composes no configuration.

    Args:
        arguments: as typed; an option such as --config-dir also takes its value as the next argument.
        defaults: the keys that there are, with their values where none is typed.

    Raises:
        ValueError: an argument without "=", or a key that there is not.
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


def _search(config_dir: str | None) -> list[str]:
    return [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []


def _compose(overrides: list[str]) -> DictConfig:
    return compose(CONFIG_NAME, overrides, return_hydra_config=True)


def _parse(loader: ConfigLoader, typed: str, multirun: bool) -> Override:
    try:
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([typed])
    except HydraException:
        raise ValueError(
            f"{typed}: not readable as KEY=VALUE; a value with special characters goes in quotes: 'KEY=\"VALUE\"'"
        ) from None
    if override.is_sweep_override():
        if not multirun:
            raise ValueError(f"{typed}: several values are several runs, which -m starts")
        values = list(override.sweep_iterator()) if override.is_discrete_sweep() else [None]
        if not values:
            raise ValueError(f"{typed}: an empty list, which no run is made of")
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise ValueError(f"{typed}: {spelling(twice[0])} stands there twice, for the same run")
    return override


def _is_group(loader: ConfigLoader, key: str) -> bool:
    return "/" in key or key in _groups(loader)


def _groups(loader: ConfigLoader) -> list[str]:
    return [name for name in loader.list_groups("") if name != "hydra"]


def _single_values(override: Override) -> list[str]:
    """The override as one or, for a sweep, several overrides of a single value each."""
    if override.is_sweep_override():
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return [override.input_line or ""]


def _one_at_a_time(values: list[list[str]]) -> Iterator[list[str]]:
    """Jobs among which each value of each list stands once, without the product of all."""
    first = [options[0] for options in values]
    yield first
    for i, options in enumerate(values):
        for option in options[1:]:
            yield [*first[:i], option, *first[i + 1 :]]


def _check_option(loader: ConfigLoader, override: Override) -> None:
    group, typed = override.key_or_group, override.input_line
    if override.is_delete():
        raise ValueError(f"{typed}: a group cannot be removed; choose another option: {group}=...")
    options = loader.get_group_options(group, ObjectType.CONFIG)
    for value in override.sweep_iterator() if override.is_sweep_override() else [override.value()]:
        option = "null" if value is None else str(value)
        if group == "hydra/launcher" and option in LAUNCHERS and not _is_installed(LAUNCHERS[option]):
            raise ValueError(f"{typed}: not installed; pip install 'fmnist_lightning[sweep]' brings it")
        if option not in options:
            near = difflib.get_close_matches(option, options, n=1)
            hint = f"; did you mean {group}={near[0]}?" if near else ""
            raise ValueError(f"{group}={option}: allowed are {', '.join(options) or 'none'}{hint}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is what it lies in
        return False


def _check_value(loader: ConfigLoader, base: DictConfig, override: Override) -> None:
    key, typed = override.key_or_group, override.input_line
    keys = keys_of(base)
    if key not in keys or key.rpartition(".")[2].startswith("_"):
        raise ValueError(f"{typed}: {_unknown(key, override, keys, _groups(loader))}")
    if override.is_delete() and (key in NEEDED or not re.fullmatch(r"(callbacks|logger)\.\w+", key)):
        raise ValueError(f"{typed}: cannot be removed; only a callback or logger that no result needs can")
    if override.is_delete() or key.startswith("hydra."):
        return
    current = OmegaConf.select(base, key)
    for value in override.sweep_iterator() if override.is_sweep_override() else [override.value()]:
        if isinstance(value, str) and "${" in value:
            continue  # checked once it is resolved
        if allowed := _what_else(key, value, current):
            raise ValueError(f"{key}={spelling(value)}: must be {allowed}")


def _unknown(key: str, override: Override, keys: list[str], groups: list[str]) -> str:
    """Why key is refused, with the nearest name and the names beside it."""
    parent, _, name = key.rpartition(".")
    beside = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == parent]
    beside = [k for k in beside if not k.startswith("_") and k != "hydra"]
    near = difflib.get_close_matches(name, beside, n=1)
    elsewhere = [k for k in keys if k.endswith(f".{name}") and not k.startswith("hydra.")]
    hint = ""
    if near:
        nearest = f"{parent}.{near[0]}" if parent else near[0]
        value = f"={override.get_value_string()}" if nearest in groups else ""
        hint = f"; did you mean {nearest}{value}?"
    elif elsewhere:
        hint = f"; did you mean {elsewhere[0]}?"
    if parent and beside:
        return f"no such key{hint or '.'} {parent} has {', '.join(beside)}"
    others = [k for k in beside if k not in groups]
    return f"no such group or key{hint or '.'} Groups are {', '.join(groups)}; keys are {', '.join(others)}"


def _what_else(key: str, value: Any, current: Any) -> str | None:
    """What is allowed where value is not; a key without a limit takes values of the type that its yaml has."""
    if key in LIMITS:
        return None if LIMITS[key].holds(value) else LIMITS[key].allowed
    if isinstance(current, bool):
        return None if isinstance(value, bool) else "true or false"
    if is_number(current):
        return None if is_number(value) else "a number"
    if OmegaConf.is_list(current):
        return None if is_list(value) else "a list"
    if OmegaConf.is_dict(current):
        return None if isinstance(value, dict) else f"set key by key: {', '.join(map(str, current))}"
    return None


def _check_composed(cfg: DictConfig, base: DictConfig) -> None:
    """The values of the whole: resolved, and those of a user's own yaml files among them."""
    keys = keys_of(cfg)
    if added := sorted(set(keys) - set(keys_of(base))):
        raise ValueError(f"{added[0]}: no such key")
    OmegaConf.to_container(without_hydra(cfg), resolve=True)  # refuses an interpolation that leads nowhere
    if broken := beyond_limits(cfg):
        raise ValueError(broken)
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


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own node."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
