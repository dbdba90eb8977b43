"""Validates the key and the values of an override, such as optimizer.lr=1e-3."""

import difflib
import re
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.consistency import REQUIRED_CALLBACKS
from fmnist_lightning.config.constraints import Constraint, is_list, is_number, to_override
from fmnist_lightning.config.options import options_with
from fmnist_lightning.config.other_templates import equivalent
from fmnist_lightning.config.overrides import list_groups, values_of
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.config.trainer_arguments import check_trainer_argument, is_trainer_argument


def validate_override(loader: ConfigLoader, base: DictConfig, keys: list[str], override: Override) -> None:
    """Rejects an unknown key, a value that the schema does not allow, and the removal of what a run needs.

    Args:
        loader: Hydra's, which knows the config groups.
        base: the configuration that is overridden.
        keys: the keys of that configuration.
        override: the override of one key; several values are a sweep.
    """
    key, typed = override.key_or_group, override.input_line
    if key.startswith("hydra.") and (override.is_add() or override.is_force_add()):
        return  # Hydra's own schema says which keys it takes
    if key not in keys and key.startswith("trainer.") and not override.is_delete():
        for value in values_of(override):
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
    constraint = _constraint(key, OmegaConf.select(base, key))
    for value in values_of(override):
        if isinstance(value, str) and "${" in value:
            continue  # checked once it is resolved
        if constraint and not constraint.is_valid(value):
            raise ValueError(f"{key}={to_override(value)}: must be {constraint.allowed}")


def _unknown(key: str, override: Override, keys: list[str], loader: ConfigLoader) -> str:
    """Why a key is rejected, with what to type instead, or its siblings."""
    value = override.get_value_string() if "=" in (override.input_line or "") else ""
    groups = list_groups(loader)
    parent = key.rpartition(".")[0]
    siblings = _siblings(key, keys)
    hint = suggest(key, value, keys, loader)
    reason = "no such key" if parent and siblings else "no such group or key"
    if hint and not parent:
        return f"{reason}; {hint}"
    reason += f"; {hint}{'' if hint.endswith('?') else '.'}" if hint else "."
    if parent and siblings:
        return f"{reason} {parent} has {', '.join(siblings)}"
    others = [k for k in keys if "." not in k and k not in groups and k != "hydra"]
    return f"{reason} Groups are {', '.join(groups)}; keys are {', '.join(others)}"


def _siblings(key: str, keys: list[str]) -> list[str]:
    """The names of the keys beside a key that does not exist."""
    parent = key.rpartition(".")[0]
    names = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == parent]
    return [name for name in names if not name.startswith("_") and name != "hydra"]


def suggest(key: str, value: str, keys: list[str], loader: ConfigLoader) -> str | None:
    """What to type instead of an unknown key; None if nothing has a similar name.

    Args:
        key: the key without + and ~.
        value: the value as typed; empty for a key that is removed.
        keys: the keys of the configuration.
        loader: Hydra's, which knows the config groups.
    """
    if other := equivalent(key, value or "VALUE"):
        return other
    typed = f"={value}" if value else ""
    parent, _, name = key.rpartition(".")
    near = difflib.get_close_matches(name, _siblings(key, keys), n=1)
    if near and not parent and near[0] in list_groups(loader):
        options = loader.get_group_options(near[0], ObjectType.CONFIG)
        return f"did you mean {near[0]}={value if value in options else '|'.join(options)}?"
    if near:
        return f"did you mean {parent}.{near[0]}{typed}?" if parent else f"did you mean {near[0]}{typed}?"
    if elsewhere := [k for k in keys if k.endswith(f".{name}") and not k.startswith("hydra.")]:
        return f"did you mean {elsewhere[0]}{typed}?"
    if is_trainer_argument(f"trainer.{key}"):
        return f"did you mean +trainer.{key}{typed}?"
    having = options_with(name)
    return f"use {next(iter(having.values()))}{typed} with {' or '.join(having)}" if having else None


def _constraint(key: str, current: Any) -> Constraint | None:
    """The schema's constraint; a key that is not in the schema takes values of the type that its yaml has."""
    if key in SCHEMA:
        return SCHEMA[key]
    if isinstance(current, bool):
        return Constraint("true or false", lambda value: isinstance(value, bool))
    if is_number(current):
        return Constraint("a number", is_number)
    if OmegaConf.is_list(current):
        return Constraint("a list", is_list)
    if OmegaConf.is_dict(current):
        removed = f", or removed by '~{key}'" if key.startswith(("callbacks.", "logger.")) else ""
        allowed = f"set key by key: {', '.join(map(str, current))}{removed}"
        return Constraint(allowed, lambda value: isinstance(value, dict))
    return None
