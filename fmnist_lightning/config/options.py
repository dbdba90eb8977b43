"""What the config files document: the header of each option, the value and the comment of each key."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from fmnist_lightning.config.config_files import CONF, GROUPS

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C where PyYAML was built with it


class Key(NamedTuple):
    """One key of a config file, as `--help` shows it."""

    name: str  # dotted
    value: str  # as an override takes it; empty for a key with keys of its own
    comment: str


class Option(NamedTuple):
    """One config file: an option of a config group, or a primary config, which has the group ""."""

    group: str
    name: str
    description: str
    keys: list[Key]


def read_options(folders: Iterable[Path] = (CONF,)) -> list[Option]:
    """The primary configs and the options of all config groups; files that are no YAML are left out."""
    options = []
    for folder in folders:
        for group in ("", *GROUPS, "experiment"):
            for path in sorted(folder.joinpath(group).glob("*.yaml")):
                try:
                    options.append(_read(path, group))
                except (yaml.YAMLError, OSError, UnicodeDecodeError):
                    continue  # Hydra reports it where it is chosen
    return options


def options_with(name: str) -> dict[str, str]:
    """The options whose file has a key of that name below its group, and the key: {"model=ann": "model.hidden"}."""
    found = {}
    for option in read_options():
        for key in option.keys if option.group not in ("", "experiment") else ():
            if key.name.endswith(f".{name}"):
                found[f"{option.group}={option.name}"] = key.name
    return found


def _read(path: Path, group: str) -> Option:
    text = path.read_text(encoding="utf-8")
    header = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    package = "" if "# @package _global_" in text else group
    root = yaml.compose(text, Loader=_LOADER)
    keys = list(_walk(root, package, text.splitlines())) if isinstance(root, yaml.MappingNode) else []
    return Option(group, path.stem, header[0] if header else "", keys)


def _walk(node: yaml.MappingNode, package: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        name = f"{package}.{key.value}" if package else str(key.value)
        if str(key.value).startswith("_") or name.rpartition(".")[2] == "defaults":
            continue
        is_parent = isinstance(value, yaml.MappingNode) and bool(value.value)
        start, end = value.start_mark, value.end_mark
        is_inline = start.line == end.line and not is_parent
        written = lines[start.line][start.column : end.column].strip() if is_inline else ""
        after = lines[end.line][end.column :] if is_inline else lines[key.end_mark.line][key.end_mark.column + 1 :]
        comment = after.strip().removeprefix("#").strip() if after.strip().startswith("#") else ""
        if comment or not is_parent:
            yield Key(name, "" if is_parent else written.replace(", ", ",") or "[...]", comment)
        if is_parent:
            yield from _walk(value, name, lines)
