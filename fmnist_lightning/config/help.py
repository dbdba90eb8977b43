"""What --help prints: examples, each option and key with its comment in the config files, flags, other commands."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from fmnist_lightning.config.commands import COMMAND, other_commands
from fmnist_lightning.config.config_files import CONF, GROUPS
from fmnist_lightning.config.options import Key, Option, read_options

INTRODUCTION = "Trains a classifier on Fashion-MNIST; writes a run directory: scores, predictions, report, checkpoints."
EXAMPLES = {
    COMMAND: "train the CNN",
    f"{COMMAND} model=ann seed=1": "train the ANN",
    f"{COMMAND} optimizer.lr=3e-4": "change a value",
    f"{COMMAND} trainer.max_epochs=5": "train 5 epochs",
    f"{COMMAND} trainer.accelerator=gpu": "train on a GPU",
    f"{COMMAND} experiment=fast_cnn": "a stored experiment",
    f"{COMMAND} -m model=ann,cnn seed=0,1": "a sweep of 4 runs",
    f"{COMMAND} resume=DIR": "resume a run",
    f"{COMMAND} --cfg job": "show the config",
}
FLAGS = {
    "-m, --multirun": "run a sweep: every combination of comma-separated values",
    "-c, --cfg job": "show the composed configuration; starts nothing",
    "-cd, --config-dir DIR": "add a directory with config files of your own",
    "-cn, --config-name NAME": "use another primary config than config.yaml",
    "-sc, --shell-completion": 'complete options and keys with Tab: eval "$(fmnist -sc install=bash)"; also zsh, fish',
    "-h, --help": "print this text",
    "--version": "print the version",
    "--hydra-help": "print Hydra's own flags",
}
Entry = tuple[str, str]  # what is typed, and what it does


def help_text(config_dir: str | None = None, width: int | None = None) -> str:
    """The text of --help.

    Args:
        config_dir: a directory with more config files, as of --config-dir.
        width: in columns; that of the terminal unless given.
    """
    width = width or min(max(shutil.get_terminal_size().columns, 60), 120)
    options = read_options([CONF, *([Path(config_dir)] if config_dir else [])])
    lines = [*textwrap.wrap(INTRODUCTION, width), "", "Examples:", *_columns(EXAMPLES.items(), width, 58)]
    lines += ["", f"Options and keys, typed as {COMMAND} GROUP=OPTION KEY=VALUE:"]
    for entries in _sections(options):
        lines += [*_columns(entries, width), ""]
    lines += [*_columns([("+trainer.KEY=VALUE", "any other argument of lightning.Trainer")], width), "", "Flags:"]
    lines += [*_columns(FLAGS.items(), width), "", "Other commands, each with a --help of its own:"]
    commands = [(f"{COMMAND}.{name}", description) for name, description in other_commands().items()]
    return "\n".join([*lines, *_columns(commands, width, 42)])


def _sections(options: list[Option]) -> Iterator[list[Entry]]:
    """The keys without a group, then each group's options and keys."""
    defaults = _defaults()
    keys: dict[str, Key] = {}  # as the default options have them, if they do
    owners: dict[str, list[str]] = {}  # the options that have a key
    for option in sorted(options, key=lambda each: each.group != "" and defaults[each.group] != each.name):
        for key in option.keys if option.group != "experiment" else ():
            keys.setdefault(key.name, key)
            owners.setdefault(key.name, []).append(option.name if option.group else "")
    top = [key for key in keys.values() if key.name.partition(".")[0] not in defaults]
    yield [_entry(key) for key in top if "." not in key.name or key.comment]
    for group, default in defaults.items():
        own = [option for option in options if option.group == group]
        names = {option.name: f"{group}={option.name}{' (default)' * (option.name == default)}" for option in own}
        yield [
            *((names[option.name], option.description) for option in own),
            *(
                _entry(key, "" if {default, ""} & set(owners[name]) else f"({group}={'|'.join(owners[name])}) ")
                for name, key in keys.items()
                if name.startswith(f"{group}.")
            ),
        ]


def _defaults() -> dict[str, str]:
    """The option of each config group in the defaults list of conf/config.yaml."""
    items = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    found = {group: str(option) for item in items if isinstance(item, dict) for group, option in item.items()}
    return {group: found[group] for group in (*GROUPS, "experiment")}


def _entry(key: Key, condition: str = "") -> Entry:
    typed = (
        f"{key.name}.dir=DIR" if key.name.startswith("hydra.") else f"{key.name}={key.value}" if key.value else key.name
    )
    return typed, condition + key.comment


def _columns(entries: Iterable[Entry], width: int, left: int = 34) -> list[str]:
    """Two columns; a wide entry of the first one has a line of its own."""
    lines = []
    for typed, comment in entries:
        wrapped = textwrap.wrap(comment, width - left, break_on_hyphens=False) or [""]
        if len(typed) > left - 4:
            lines.append(f"  {typed}")
            typed = ""
        lines += [f"  {first:<{left - 2}}{second}".rstrip() for first, second in zip([typed], wrapped, strict=False)]
        lines += [" " * left + rest for rest in wrapped[1:]]
    return lines
