"""Runs the commands that compose no configuration; their KEY=VALUE arguments are the fields of a dataclass.

@dataclass
class Arguments:
    run: str = argument("run=DIR", missing="the directory that a run prints as its last line")
    accelerator: str = argument("accelerator=NAME", "auto", SCHEMA["trainer.accelerator"])
    overrides: list[str] = field(default_factory=list)  # all other arguments; without this field they are rejected
"""

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fmnist_lightning import __version__
from fmnist_lightning.config.constraints import Constraint
from fmnist_lightning.config.environment import command_environment
from fmnist_lightning.config.errors import EXIT_SIGINT, format_error, full_traceback
from fmnist_lightning.config.openmp import set_openmp_variables

T = TypeVar("T")


@command_environment()
def run_command(
    command: Callable[[list[str]], Any],
    usage: str | Callable[[list[str]], str] | None,
    interrupted: str = "interrupted",
) -> None:
    """Runs a command with this process's arguments; exits with the status that it returns, or with 1 and its error.

    --help prints `usage`, or what it returns for the arguments; Ctrl-C prints `interrupted`.
    """
    argv = sys.argv[1:]
    try:
        if "--version" in argv:
            print(f"fmnist_lightning {__version__}")
            return
        if {"-h", "--help"} & set(argv):
            print(usage(argv) if callable(usage) else (usage or "").strip())
            return
        set_openmp_variables()
        result = command(argv)
    except KeyboardInterrupt:
        print(interrupted, flush=True)
        sys.exit(EXIT_SIGINT)
    except Exception as error:
        if full_traceback():
            raise
        sys.exit(f"error: {format_error(error)}")
    if isinstance(result, int):
        sys.exit(result)


def argument(
    usage: str, default: Any = dataclasses.MISSING, constraint: Constraint | None = None, missing: str = "required"
) -> Any:
    """A dataclass field for one argument.

    Args:
        usage: the documented form, KEY=WHAT; a key such as --config-dir also takes its value as the next argument.
        default: the value if it is not typed; without a default the argument is required.
        constraint: the allowed values, parsed as in Hydra's overrides; without it any text is allowed.
        missing: the description of a required argument in the error message.
    """
    metadata = {"usage": usage, "constraint": constraint, "missing": missing}
    return dataclasses.field(default=default, metadata=metadata)


def parse_arguments(cls: type[T], argv: Sequence[str]) -> T:
    """The arguments as an instance of a dataclass; a field not made by `argument` collects all others.

    Raises:
        ValueError: an unknown or missing argument, or a value that is not allowed.
    """
    fields: dict[str, Any] = {}  # by key
    rest_name = None
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if "usage" in field.metadata:
            fields[field.metadata["usage"].partition("=")[0]] = field
        else:
            rest_name = field.name
    groups = {key.partition(".")[0] for key in fields if "." in key}
    short = {key.rpartition(".")[2]: key for key in fields}  # trials, of search.trials
    values: dict[str, Any] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word.startswith("--") and word in fields:
            word = f"{word}={next(words, '')}"
        key, equals, text = word.partition("=")
        if key in fields and equals:
            values[fields[key].name] = _parse(key, text, fields[key].metadata["constraint"])
            continue
        name = key.lstrip("-").replace("-", "_")
        meant = [short[each] for each in difflib.get_close_matches(name, short, n=1, cutoff=0.9)]
        if rest_name and not meant and key not in fields and key.partition(".")[0] not in groups:
            rest.append(word)
        else:
            if word.startswith("-") and not equals:  # --run DIR
                text = next(words, "VALUE")
            near = meant or ([] if "/" in name else difflib.get_close_matches(name, fields, n=1))
            if not equals and not word.startswith("-"):  # DIR
                near, text = [each for each in fields if fields[each].default is dataclasses.MISSING], word
            hint = f"; did you mean {near[0]}={text}?" if near else "."
            raise ValueError(f"{word}: no such argument{hint} Allowed are {_usage(fields)}")
    for field in fields.values():
        if field.name not in values and field.default is dataclasses.MISSING:
            raise ValueError(f"{field.metadata['usage']} is missing: {field.metadata['missing']}")
    return cls(**values, **({rest_name: rest} if rest_name else {}))


def split_list(typed: str) -> list[str]:
    """The words of A or [A,B], without quotes."""
    inner = typed[1:-1] if typed.startswith("[") and typed.endswith("]") else typed
    return [word for part in inner.split(",") if (word := part.strip().strip("'\""))]


def _usage(fields: dict[str, Any]) -> str:
    return ", ".join(field.metadata["usage"] for field in fields.values())


def _parse(key: str, text: str, constraint: Constraint | None) -> Any:
    if text.startswith("[") and "]" not in text:
        raise ValueError(f"{key}={text}: ] is missing; a list has no spaces, or is in quotes: '{key}=[A, B]'")
    if constraint is None:
        return os.path.expanduser(text)  # noqa: PTH111 - it may be a URL. A shell does not expand a.b=~/c
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{key}={text}"])
        value = text if override.is_sweep_override() else override.value()
    except HydraException:
        value = text
    if not constraint.is_valid(value):
        raise ValueError(f"{key}={text}: must be {constraint.allowed}")
    return value
