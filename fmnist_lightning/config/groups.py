"""Validates the choice of an option of a config group, such as model=cnn."""

import difflib

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override

from fmnist_lightning.config.config_files import GROUPS
from fmnist_lightning.config.constraints import is_list, to_override
from fmnist_lightning.config.extras import check_installed
from fmnist_lightning.config.other_templates import equivalent
from fmnist_lightning.config.overrides import values_of


def validate_option(loader: ConfigLoader, override: Override) -> None:
    """Rejects an option that a config group does not have, and the removal of a group."""
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
    if group == "hydra/launcher":
        check_installed(option, typed)
    if option not in options:
        near = difflib.get_close_matches(option.lower(), options, n=1)
        hint = "; docs/add-your-own-model.md adds others" if group == "model" else ""
        hint = f"; did you mean {group}={near[0]}?" if near else hint
        other = equivalent(f"{group}={option}", option)
        hint = f"; {other}" if other else hint
        raise ValueError(f"{group}={option}: allowed are {', '.join(options) or 'none'}{hint}")
