"""Parses overrides as Hydra does, and rejects what is not an override or not a sweep over listed values."""

import re
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from fmnist_lightning.config.config_files import GROUPS
from fmnist_lightning.config.constraints import to_override


def parse_override(loader: ConfigLoader, typed: str, source: str = "") -> Override:
    """The parsed override KEY=VALUE; error messages start with its source.

    Raises:
        ValueError: it cannot be parsed, or sweeps over anything but distinct listed values.
    """
    try:
        (override,) = OverridesParser.create(config_loader=loader).parse_overrides([typed])
    except HydraException:
        hint = "special characters go in quotes: 'KEY=\"VALUE\"'"
        if "=~" in typed:
            hint = f"~ is not expanded, type {typed.replace('~', '$HOME', 1)}"
        elif "[" in typed and "]" not in typed:
            hint = "a list has no spaces, or is in quotes: 'KEY=[A, B]'"
        raise ValueError(f"{source}{typed}: not readable as KEY=VALUE; {hint}") from None
    if not override.is_sweep_override():
        return override
    if not override.is_discrete_sweep():
        raise ValueError(
            f"{source}{typed}: a sweep runs listed values, and interval() lists none; type {override.key_or_group}=A,B"
        )
    values = [(type(value), value) for value in values_of(override)]  # 1 batch and 1.0 of all batches differ
    if not values:
        raise ValueError(f"{source}{typed}: an empty list of values")
    if repeated := [value for i, (_, value) in enumerate(values) if values[i] in values[:i]]:
        raise ValueError(f"{source}{typed}: {to_override(repeated[0])} is listed twice")
    return override


def values_of(override: Override) -> list[Any]:
    """The values of an override, several for a sweep, without the quotes in which they were typed."""
    if override.is_sweep_override():
        return [Override._convert_value(value) for value in override.sweep_iterator()]
    return [override.value()]


def split_sweep(override: Override) -> list[Override]:
    """An override of a single value for each value of a sweep."""
    if not override.is_sweep_override():
        return [override]
    typed = [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
    return OverridesParser.create(config_loader=override.config_loader).parse_overrides(typed)


def list_groups(loader: ConfigLoader) -> list[str]:
    """The config groups of a run, without those of Hydra and the search spaces."""
    return [name for name in loader.list_groups("") if name not in ("hydra", "search")]


def is_group(loader: ConfigLoader, key: str) -> bool:
    """Whether a key is a config group, also one of Hydra's or a nested one."""
    return "/" in key or key in list_groups(loader)


def null_to_empty_list(loader: ConfigLoader, typed: str) -> str:
    """An override `experiment=null` as `experiment=[]`, which has the same effect."""
    # Hydra accepts null in a defaults list, but not as an override of a group
    group = typed.lstrip("+").partition("=")[0]
    is_optional = group in list_groups(loader) and group not in GROUPS
    return re.sub(r"(?<=[=,])null(?=,|$)", "[]", typed) if is_optional else typed


def quote(path: object) -> str:
    """A path as the quoted value of an override."""
    return "'" + str(path).replace("'", "\\'") + "'"
