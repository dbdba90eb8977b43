"""The table of predictions: one row per image, appended in blocks, and resumed where an earlier command stopped.

Rows are appended to FILE.csv.partial, which is renamed to FILE.csv once all are written. FILE.csv.partial.json holds
the settings that the rows belong to. File names of any bytes survive.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout

from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.data.image_files import ImageSource
from fmnist_lightning.runs.files import atomic_write

COLUMNS = ["path", "label", "class", "probability", "second", "third", *(f"p{c}" for c in range(10))]
COLUMNS += ["unlike", "reason", "error"]
UNLIKE, ERROR = COLUMNS.index("unlike"), COLUMNS.index("error")
BLOCK_SIZE = 64  # rows; only whole blocks are resumed, as predictions depend, in the last digits, on the batch size
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


class PredictionCsv:
    """The table that a command writes.

    Args:
        path: of the file.
        settings: what the rows depend on; rows of other settings are not resumed.
        overwrite: whether an existing file, or rows of other settings, may be replaced.

    Raises:
        ValueError: the file exists, or cannot be written; names the argument output.
    """

    def __init__(self, path: Path, settings: Mapping[str, object], overwrite: bool) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        self.num_images = self.num_errors = self.num_unlike = self.num_resumed = 0
        self._file: TextIO
        if path.exists() and not path.is_file():  # also /dev/null, which the finished file would replace
            raise ValueError(f"output={path}: is not a file; name a file to write")
        if not path.parent.is_dir():
            raise ValueError(f"output={path}: the directory {path.parent} does not exist; create it first")
        if path.exists() and not overwrite:
            raise ValueError(f"output={path}: already exists; not overwritten. Add overwrite=true")
        self.partial = path.with_name(f"{path.name}.partial")
        self.settings_file = path.with_name(f"{path.name}.partial.json")
        self.lock_file = path.with_name(f"{path.name}.partial.lock")
        check_writable(path.parent, f"output={path}")
        changed = self._changed_setting() if self.partial.exists() else ""
        if changed and not overwrite:
            raise ValueError(
                f"output={path}: {self.partial} has rows of a command with other settings ({changed}); "
                "repeat that command, or start again with overwrite=true"
            )

    @property
    def files(self) -> list[Path]:
        """All files that are written."""
        return [self.path, self.partial, self.settings_file, self.lock_file]

    def _changed_setting(self) -> str:
        try:
            written = json.loads(self.settings_file.read_text())
        except (OSError, ValueError):
            written = None
        if not isinstance(written, dict):
            return f"{self.settings_file.name} is missing or damaged"
        changed = [key for key in self.settings if written.get(key) != self.settings[key]]
        return f"{changed[0]}={written.get(changed[0])}" if changed else ""

    @contextmanager
    def writing(self, sources: Iterator[ImageSource]) -> Iterator[None]:
        """Resumes after the rows that exist, whose sources are skipped; renames the file unless an error is raised.

        Raises:
            ValueError: another process writes the file, or the rows are of other images.
        """
        lock = FileLock(self.lock_file, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(f"output={self.path}: another process is writing it") from None
        try:
            self._resume(sources)
            with self.partial.open("a", newline="", **ENCODING) as self._file:  # type: ignore[call-overload]
                if self.num_resumed == 0:
                    self._append([COLUMNS])
                yield
                os.fsync(self._file.fileno())
            self.partial.replace(self.path)
            self.settings_file.unlink()
        finally:
            with suppress(OSError):  # Windows keeps a file that is open
                self.lock_file.unlink()  # while it is locked: a process that opened it before does not take it then
            lock.release()

    def _resume(self, sources: Iterator[ImageSource]) -> None:
        num_rows, end = 0, 0
        if self.partial.exists() and not self._changed_setting():
            for number, (_, offset) in enumerate(_rows(self.partial)):  # 0 is the header
                if number and number % BLOCK_SIZE == 0:
                    num_rows, end = number, offset
        else:
            atomic_write(self.settings_file, json.dumps(self.settings, indent=2) + "\n")
        with self.partial.open("ab") as file:
            file.truncate(end)
        for row, _ in islice(_rows(self.partial), 1, None):
            source = next(sources, None)
            if source is None or row[0] != source.path:
                raise ValueError(
                    f"output={self.path}: {self.partial} has a row of {row[0]}, which is no longer at this place "
                    "among the images; start again with overwrite=true after deleting that file"
                )
            self._count(row)
        self.num_resumed = num_rows

    def write(self, rows: Sequence[Sequence[str]]) -> None:
        """Appends rows of images."""
        for row in rows:
            self._count(row)
        self._append(rows)

    def _append(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        plain, quoted = (
            csv.writer(text, lineterminator="\n", quoting=style) for style in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        for row in rows:
            (quoted if "\r" in row[0] else plain).writerow(row)  # minimal quotes no \r
        self._file.write(text.getvalue())
        self._file.flush()

    def _count(self, row: Sequence[str]) -> None:
        self.num_images += 1
        self.num_errors += row[ERROR] != ""
        self.num_unlike += row[UNLIKE] == "1"


def _rows(path: Path) -> Iterator[tuple[list[str], int]]:
    """The complete rows, each with the offset of its end; a process may have been killed in the middle of one."""
    end = 0

    def lines() -> Iterator[str]:
        nonlocal end
        for line in file:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield line.decode(**ENCODING)

    with path.open("rb") as file:
        try:
            for row in csv.reader(lines(), strict=True):
                if len(row) != len(COLUMNS):
                    return
                yield row, end
        except csv.Error:
            return
