"""Parses the command line of a run or sweep: Hydra's flags and overrides. What is neither is rejected with a hint."""

import difflib
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.object_type import ObjectType

from fmnist_lightning.config.commands import COMMAND, other_commands
from fmnist_lightning.config.compose import Composer
from fmnist_lightning.config.keys import suggest
from fmnist_lightning.config.options import read_options
from fmnist_lightning.config.other_templates import equivalent
from fmnist_lightning.config.overrides import list_groups
from fmnist_lightning.config.schema import flatten_keys


def parse_command_line(argv: Sequence[str]) -> Namespace:
    """The flags and overrides, as Hydra parses them.

    Raises:
        ValueError: an unknown flag, or a word that is not an override; the message says what to type.
    """
    parser = get_args_parser()
    parser.error = _raise  # type: ignore[method-assign] # argparse's own prints its usage
    for i, word in enumerate(argv):
        if word.startswith("-") and not _is_flag(word, parser):
            raise ValueError(_explain_flag(word, argv[i + 1 : i + 2], parser))
    arguments = parser.parse_intermixed_args(list(argv))
    for i, word in enumerate(arguments.overrides):
        if re.fullmatch(r"[\w./-]+|=", word):
            raise ValueError(_explain_word(word, [*arguments.overrides[:i], *arguments.overrides[i + 1 :]]))
    return arguments


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


def _is_flag(word: str, parser: ArgumentParser) -> bool:
    """Whether argparse knows it: also abbreviated, as --multi, or with its value, as -cjob."""
    flags, name = parser._option_string_actions, word.partition("=")[0]
    if name in flags or word.startswith("--"):
        return any(flag.startswith(name) for flag in flags)
    return any(word.startswith(flag) for flag, action in flags.items() if action.nargs != 0)


def _explain_flag(word: str, following: Sequence[str], parser: ArgumentParser) -> str:
    """What to type instead of a flag such as --lr 0.01: most name keys, which have no dashes."""
    name, equals, value = word.lstrip("-").partition("=")
    if not equals and following and not following[0].startswith("-") and "=" not in following[0]:
        value = following[0]
        word = f"{word} {value}"
    hint = _explain_key(name.replace("-", "_"), value)
    if not hint:
        near = difflib.get_close_matches(f"--{name}", parser._option_string_actions, n=1, cutoff=0.8)
        hint = _did_you_mean(near or _options_named(name))
    return f"{word}: {hint or 'no such flag; values are set by KEY=VALUE, without dashes; --help lists both'}"


def _explain_key(key: str, value: str) -> str | None:
    """What to type to set a key or choose a group's option; None if nothing has a similar name."""
    with Composer() as composer:
        if key in list_groups(composer.loader):
            options = composer.loader.get_group_options(key, ObjectType.CONFIG)
            return f"write {' or '.join(f'{key}={option}' for option in ([value] if value in options else options))}"
        keys = flatten_keys(composer.compose([]))
        if key in keys:
            return f"write {key}={value or 'VALUE'}"
        return suggest(key, value or "VALUE", keys, composer.loader)


def _explain_word(word: str, others: Sequence[str]) -> str:
    """What to type instead of a word such as train, evaluate, cnn or seed."""
    rest = f" {shlex.join(others)}" if others else ""
    commands = other_commands()
    if word in ("train", "fit"):
        return f"{word}: training has no subcommand; type {COMMAND}{rest}"
    if word in commands:
        return f"{word}: a command of its own; type {COMMAND}.{word}{rest}"
    if word in ("help", "version"):
        return f"{word}: did you mean --{word}?"
    options = read_options()
    if word in {name for option in options for name in (option.group, *(key.name for key in option.keys)) if name}:
        return f"{word}: write {word}=VALUE, without spaces"
    near = [f"{COMMAND}.{name}{rest}" for name in difflib.get_close_matches(word, commands, n=1)]
    hint = _did_you_mean(near or _options_named(word)) or equivalent(word, "VALUE")
    other = "not KEY=VALUE; a list has no spaces, KEY=A,B; --help lists the keys, and the other commands"
    return f"{word}: {hint or other}"


def _options_named(name: str) -> list[str]:
    return [f"{option.group}={name}" for option in read_options() if option.group and option.name == name]


def _did_you_mean(candidates: Sequence[str]) -> str:
    return f"did you mean {' or '.join(candidates)}?" if candidates else ""
