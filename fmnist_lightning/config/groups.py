"""Validates the choice of an option of a config group, such as model=cnn."""

import difflib
import importlib.util

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override

from fmnist_lightning.config.config_files import GROUPS
from fmnist_lightning.config.constraints import is_list, to_override
from fmnist_lightning.config.other_templates import equivalent
from fmnist_lightning.config.overrides import values_of

# Hydra's launchers that run several jobs at a time, and the plugin of each
LAUNCHERS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "slurm": "hydra_plugins.hydra_submitit_launcher",
}


def validate_option(loader: ConfigLoader, override: Override) -> None:
    """Rejects an option that a config group does not have, and the removal of a group.

    Raises:
        ValueError: naming the options.
    """
    group, typed = override.key_or_group, override.input_line
    if override.is_delete() and group not in GROUPS:
        return
    if override.is_delete():
        raise ValueError(f"{typed}: a group cannot be removed; choose another option: {group}=...")
    options = loader.get_group_options(group, ObjectType.CONFIG)
    for value in values_of(override):
        for option in value if is_list(value) else [value]:
            _check_option(group, to_override(option), options, typed or "")


def _check_option(group: str, option: str, options: list[str], typed: str) -> None:
    if group == "hydra/launcher" and option in LAUNCHERS and not _is_installed(LAUNCHERS[option]):
        raise ValueError(f"{typed}: not installed; pip install 'fmnist_lightning[sweep]' brings it")
    if option not in options:
        near = difflib.get_close_matches(option.lower(), options, n=1)
        hint = "; docs/add-your-own-model.md adds others" if group == "model" else ""
        hint = f"; did you mean {group}={near[0]}?" if near else hint
        other = equivalent(f"{group}={option}", option)
        hint = f"; {other}" if other else hint
        raise ValueError(f"{group}={option}: allowed are {', '.join(options) or 'none'}{hint}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is its parent
        return False
