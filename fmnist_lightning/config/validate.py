"""Validates the command line before torch is imported or anything is created: every value of every job it starts."""

import itertools
from collections.abc import Set
from typing import NamedTuple

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import CONFIG_NAME, Composer, unresolved
from fmnist_lightning.config.config_files import config_dirs_of
from fmnist_lightning.config.consistency import validate_config
from fmnist_lightning.config.groups import validate_option
from fmnist_lightning.config.keys import validate_override
from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.machine import check_data_root, check_machine
from fmnist_lightning.config.overrides import is_group, null_to_empty_list, parse_override, split_sweep
from fmnist_lightning.config.schema import flatten_keys


def validate_command_line(
    overrides: list[str],
    multirun: bool = False,
    config_dir: str | None = None,
    check_hardware: bool = True,
    config_name: str = CONFIG_NAME,
) -> Launch:
    """Composes every configuration that a command line asks for and rejects what cannot run.

    The run directories are validated by `runs.folders`.

    Args:
        overrides: Hydra overrides, as typed.
        multirun: whether -m was typed; `hydra.mode` has the same effect.
        config_dir: the value of --config-dir.
        check_hardware: whether this machine must have the devices and data.root; not if a configuration is only shown.
        config_name: the value of --config-name.

    Raises:
        ValueError: naming the key, what is allowed and the nearest valid name.
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: what Hydra itself rejects.
    """
    config_dirs_of(config_dir)  # rejects one that does not exist
    with Composer(config_dir, config_name) as composer:
        loader = composer.loader
        overrides = [null_to_empty_list(loader, typed) for typed in overrides]
        parsed = [parse_override(loader, typed) for typed in overrides]
        # hydra.searchpath adds config directories, whose options are known only after composing
        if not any(override.key_or_group == "hydra.searchpath" for override in parsed):
            _check_options(composer, parsed)
        mode = _find_mode(composer, parsed, multirun)
        if not mode.multirun and (swept := next((o for o in parsed if o.is_sweep_override()), None)):
            raise ValueError(f"{swept.input_line}: several values are several runs, which -m starts")
        # as Hydra's sweeper merges them: what is typed replaces what a config file says
        merged = {override.get_key_element(): override for override in [*mode.sweeper_params, *parsed]}.values()
        in_defaults = [o for o in merged if is_group(loader, o.key_or_group) or o.key_or_group == "hydra.searchpath"]
        groups = [split_sweep(override) for override in in_defaults]
        values = [split_sweep(override) for override in merged if override not in in_defaults]
        cfg = _check_jobs(composer, groups, values, mode, check_hardware)
        sweep_dir = composer.compose(overrides, RunMode.MULTIRUN).hydra.sweep.dir if mode.multirun else ""
    return Launch(composer, cfg, overrides, mode.multirun, mode.launcher, str(sweep_dir), groups, values)


def _check_options(composer: Composer, overrides: list[Override]) -> None:
    for override in overrides:
        if is_group(composer.loader, override.key_or_group):
            validate_option(composer.loader, override)


class _Mode(NamedTuple):
    multirun: bool
    launcher: str | None
    sweeper_params: list[Override]  # the overrides in a config file's hydra.sweeper.params


def _find_mode(composer: Composer, parsed: list[Override], multirun: bool) -> _Mode:
    """Whether Hydra will start a multirun, and how."""
    validated = [
        override.input_line or ""
        for override in parsed
        if not override.is_sweep_override()
        and (is_group(composer.loader, override.key_or_group) or override.key_or_group.startswith("hydra."))
    ]
    cfg = composer.compose(validated, RunMode.MULTIRUN)
    choices = cfg.hydra.runtime.choices
    if cfg.hydra.mode is not None:  # takes precedence over -m
        multirun = cfg.hydra.mode == RunMode.MULTIRUN
    if not multirun:
        return _Mode(False, None, [])
    if choices["hydra/sweeper"] != "basic":
        raise ValueError(f"hydra/sweeper={choices['hydra/sweeper']}: allowed is basic, which runs listed values")
    params = OmegaConf.to_container(cfg.hydra.sweeper.params or OmegaConf.create({}), resolve=True)
    assert isinstance(params, dict)
    source = "hydra.sweeper.params: "
    overrides = [parse_override(composer.loader, f"{key!s}={value!s}", source) for key, value in params.items()]
    _check_options(composer, overrides)
    return _Mode(True, choices["hydra/launcher"], overrides)


def _check_jobs(
    composer: Composer, groups: list[list[Override]], values: list[list[Override]], mode: _Mode, check_hardware: bool
) -> DictConfig:
    """Checks each value of each key once per choice of groups, not their product; returns the first job's config."""
    first_job = None
    for choice in itertools.product(*groups):
        base = composer.compose_groups(choice)
        keys = flatten_keys(base)
        for override in itertools.chain(*values):
            validate_override(composer.loader, base, keys, override)
        cfg = composer.compose_job(choice, [options[0] for options in values])
        _check_job(cfg, set(keys), mode, check_hardware)
        for first, *others in values:  # lr=1,2 seed=0,1: checks (1, 0), (2, 0), (1, 1), but not (2, 1)
            if first.key_or_group == "seed":
                continue  # there may be hundreds, and nothing else depends on them: validate_override was enough
            for override in others:
                OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
                _check_job(cfg, set(keys), mode, check_hardware)
            if others:
                OmegaConf.update(cfg, first.key_or_group, first.value(), force_add=True)
        first_job = first_job or cfg
    assert first_job is not None
    return first_job


def _check_job(cfg: DictConfig, known: Set[str], mode: _Mode, check_hardware: bool) -> None:
    validate_config(cfg, known)
    if cfg.hydra.output_subdir is not None:
        raise ValueError("hydra.output_subdir: must be null; the run itself writes .hydra")
    if mode.multirun and cfg.resume is not None:
        raise ValueError(
            f"resume={cfg.resume}: resumes a single run; to resume a sweep, repeat its command with hydra.sweep.dir"
        )
    if check_hardware and cfg.resume in (None, "auto"):  # a resumed run has a configuration of its own
        check_machine(cfg.trainer, unresolved(cfg.hydra.run, "dir"), mode.launcher)
        check_data_root(cfg.data)
