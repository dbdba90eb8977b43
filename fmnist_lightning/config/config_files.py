"""The config files: those in conf/ and in the user's config directories. A stored config may name nothing else."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent
# a wheel contains conf/ inside the package; in a checkout it is next to the package
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
# the groups that every run needs; the group experiment is optional
GROUPS = ("data", "model", "optimizer", "scheduler", "trainer", "callbacks", "logger")
_HEADER = re.compile(r"^#\s*@package\s+(\S+)\s*$", re.MULTILINE)


class ConfigFiles(NamedTuple):
    """The content of some config files."""

    keys: set[str]  # as dotted paths; "[]" stands for the index in a list
    values: set[tuple[str, str]]  # each leaf key, and its value as text


def scan_config_files(config_dirs: Iterable[Path] = ()) -> ConfigFiles:
    """Scans the primary configs and config groups of conf/ and further directories, not run directories in them."""
    files = ConfigFiles(set(), set())
    for folder in (CONF, *config_dirs):
        for path in folder.glob("*.yaml"):
            _scan(path, [""], files)
        for group in (*GROUPS, "experiment"):
            for path in folder.joinpath(group).rglob("*.yaml"):
                # model/small/tiny.yaml is an option of the group model or of model/small
                packages = [group, ".".join(path.parent.relative_to(folder).parts)]
                _scan(path, packages, files)
    return files


def _scan(path: Path, packages: list[str], files: ConfigFiles) -> None:
    try:
        text = path.read_text()
        content = yaml.safe_load(text)
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return  # Hydra reports it where it is chosen
    if header := _HEADER.search(text):
        packages = packages if header[1] == "_group_" else [header[1].replace("_global_", "").strip(".")]
    if isinstance(content, dict):
        content.pop("defaults", None)
        for package in packages:
            parts = package.split(".") if package else []
            files.keys.update(".".join(parts[: i + 1]) for i in range(len(parts)))
            for key, value, is_leaf in walk(content, package):
                files.keys.add(key)
                if is_leaf:
                    files.values.add((key, str(value)))


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any, bool]]:
    """Every key of a nested config with its value, and whether that is a leaf: neither dictionary nor list."""
    children: list[tuple[str, Any]] = []
    if isinstance(node, dict):
        children = [(f"{key}.{name}" if key else str(name), child) for name, child in node.items()]
    elif isinstance(node, list):
        children = [(f"{key}.[]", child) for child in node]
    for name, child in children:
        is_leaf = not isinstance(child, dict | list)
        yield name, child, is_leaf
        if not is_leaf:
            yield from walk(child, name)


def user_config_dirs(hydra_node: Any) -> list[Path]:
    """The directories of config files that --config-dir or hydra.searchpath adds to conf/."""
    sources = [source for source in hydra_node.runtime.config_sources if source.schema == "file"]
    return [Path(source.path) for source in sources if Path(source.path) != CONF]


def config_dirs_of(typed: str | None) -> list[Path]:
    """The directory of --config-dir, in a list; ValueError if there is none of that name."""
    if typed and not Path(typed).is_dir():
        raise ValueError(f"--config-dir={typed}: no such directory")
    return [Path(typed).resolve()] if typed else []


def add_to_path(config_dirs: Sequence[Path]) -> None:
    """Makes the modules in the user's directories importable in this process."""
    for folder in map(str, config_dirs):
        if folder not in sys.path:
            sys.path.insert(0, folder)
