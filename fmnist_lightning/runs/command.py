"""The command that repeats a run."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config.compose import CONFIG_NAME, Composer, set_hydra_config
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.run import Run


def repeat_command(run: Run, summary: Mapping[str, Any]) -> str | None:
    """The command that trains a run again, in a new directory; None if no known command composes its configuration.

    Called by the process that trains it, whose --config-dir and --config-name the command repeats.

    Args:
        run: with its directory.
        summary: with its overrides, those of each resume among them, and its config_sha256.
    """
    config_dir, config_name, search_path = _config_files()
    typed = [*search_path, *_last_of_each_key(summary["overrides"])]
    with Composer(config_dir, config_name) as composer:
        try:
            cfg = composer.compose(typed)
            set_hydra_config(cfg, str(run.folder.absolute()))
            if config_sha256(cfg) != summary["config_sha256"]:
                return None
        except (HydraException, OmegaConfBaseException):
            return None
    if cfg.hydra.mode == RunMode.MULTIRUN:  # set by a config file: this run was one of its jobs
        typed.append("hydra.mode=RUN")
    options = ["--config-dir", config_dir] if config_dir else []
    options += ["--config-name", config_name] if config_name != CONFIG_NAME else []
    return shlex.join(["python", "-m", "fmnist_lightning", *options, *typed])


def _config_files() -> tuple[str | None, str, list[str]]:
    """--config-dir, --config-name and hydra.searchpath of this process's command."""
    if not HydraConfig.initialized():
        return None, CONFIG_NAME, []
    settings = HydraConfig.get()
    folders = [source.path for source in settings.runtime.config_sources if source.provider == "command-line"]
    search_path = [typed for typed in settings.overrides.hydra if typed.startswith("hydra.searchpath=")]
    return next(iter(folders), None), settings.job.config_name or CONFIG_NAME, search_path


def _last_of_each_key(overrides: Sequence[str]) -> list[str]:
    """A resumed run's overrides replace those of its start; `resume` itself is not repeated."""
    by_key: dict[str, str] = {}
    for typed in overrides:
        key = typed.lstrip("+~").partition("=")[0]
        first = by_key.get(key, "")
        added = first[: len(first) - len(first.lstrip("+"))]  # a key that the config files lack
        by_key[key] = typed if typed.startswith(("+", "~")) else added + typed
    return [typed for key, typed in by_key.items() if key != "resume"]
