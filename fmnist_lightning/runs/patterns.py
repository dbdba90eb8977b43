"""The run directories that paths and patterns name."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from fmnist_lightning.runs.run import SUMMARY


def find_folders(words: Sequence[str], key: str) -> dict[Path, bool]:
    """The run directories in order, and whether each was typed itself, not as a pattern or a directory of several.

    Args:
        words: paths and patterns; a directory stands for the run, or for all runs, in it.
        key: of the argument, for messages.

    Raises:
        ValueError: nothing matches, or a run is listed twice.
    """
    found: dict[Path, bool] = {}
    resolved: set[Path] = set()
    for word in words:
        path = Path(word).expanduser()
        is_pattern = glob.has_magic(word) and not path.exists()
        matches = _glob(str(path)) if is_pattern else [path]
        matched = [folder for match in matches for folder in _folders_in(match)]
        if not matched:
            what = "matches no run directory" if is_pattern else "no run directory, and contains none"
            raise ValueError(f"{key}={word}: {what}; the last line of a run names its directory")
        for folder in matched:
            if folder.resolve() in resolved:
                raise ValueError(f"{key}=[{','.join(words)}]: {folder} is listed twice")
            resolved.add(folder.resolve())
            found[folder] = folder == path
    return found


def _glob(pattern: str) -> list[Path]:
    return sorted(map(Path, glob.glob(pattern)), key=_natural)  # noqa: PTH207 - Path.glob takes no absolute pattern


def _folders_in(path: Path) -> list[Path]:
    if (path / SUMMARY).exists():
        return [path]
    return sorted((summary.parent for summary in path.rglob(SUMMARY)), key=_natural)


def _natural(path: Path) -> list[int | str]:
    """Job 10 of a sweep comes after job 9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]
