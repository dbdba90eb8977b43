"""Constraints on a single value: which values are valid, and how an error message describes them."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Constraint(NamedTuple):
    """The values that a key takes, as a description for error messages and as a predicate."""

    allowed: str
    is_valid: Callable[[Any], bool]


def to_override(value: Any) -> str:
    """The value as a user types it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if is_list(value):
        return f"[{','.join(map(to_override, value))}]"
    return str(value)


def is_int(value: object) -> bool:
    """Whether value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether value is an integer or a float; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: object) -> bool:
    """Whether value is a list or a tuple."""
    return isinstance(value, list | tuple)


def integer(low: int, high: int | None = None) -> Constraint:
    """An integer from low to high, or of at least low."""
    description = f"an integer from {low} to {high}" if high is not None else f"an integer, at least {low}"
    return Constraint(description, lambda v: is_int(v) and low <= v and (high is None or v <= high))


def number(condition: str, is_valid: Callable[[float], bool]) -> Constraint:
    """A number that fulfils a condition; infinite ones and NaN are passed to it, too."""
    return Constraint(f"a number {condition}", lambda v: is_number(v) and is_valid(v))


def one_of(*options: Any) -> Constraint:
    """One of the options; 1, 1.0 and true differ."""
    description = "one of " + ", ".join(map(to_override, options))
    return Constraint(description, lambda v: any(v == option and type(v) is type(option) for option in options))
