"""Finds the images that a user names: a file, a directory, a pattern, an archive, or paths on standard input.

Everything is streamed in a fixed order, and nothing is written: a million files take no more memory than a thousand.
"""

# a Path object for each file would take as long as reading it
# ruff: noqa: PTH111, PTH112, PTH116, PTH118, PTH119

import glob
import heapq
import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from fnmatch import translate
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

from fmnist_lightning.data.image_archives import archive_sources
from fmnist_lightning.data.image_files import ImageSource, read_file

MAX_ENTRIES = 50_000  # entries of a directory that are held and sorted at a time
MAX_LINE = 2**16  # bytes of a path on standard input


def find_sources(typed: str, stdin: BinaryIO, excluded: Collection[Path] = ()) -> Iterator[ImageSource]:
    """The images that `typed` names: files below a directory sorted by name, members in the order of their archive.

    Links to directories within a directory are not followed: they may lead back to it.

    Args:
        typed: path of an image, directory or archive (zip, tar, tar.gz), a pattern (* ? [] and **), or - for `stdin`.
        stdin: paths, one per line, or separated by NUL characters.
        excluded: files and directories, such as outputs, that are not images even if the directory contains them.

    Raises:
        ValueError: nothing matches, or an archive cannot be read; names the argument images.
    """
    shown = typed if len(typed) <= 200 else f"{typed[:100]}...{typed[-100:]}"
    if typed == "-":
        found = _read_paths(stdin)
    else:
        found = _find(os.path.expanduser(typed), shown, frozenset(map(os.path.realpath, excluded)))
    first = next(found, None)
    if first is None:
        what = "no paths" if typed == "-" else "no images; links to directories are not followed"
        raise ValueError(f"images={shown}: {what}")
    return chain([first], found)


def count_files(typed: str) -> int | None:
    """The number of files below a directory, for a progress bar; None if `typed` is anything else."""
    directories, count = [os.path.expanduser(typed)], 0
    if not os.path.isdir(directories[0]):
        return None
    while directories:
        with suppress(OSError), os.scandir(directories.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
                else:
                    count += not _is_link_to_directory(entry)
    return count


def _find(path: str, shown: str, excluded: frozenset[str]) -> Iterator[ImageSource]:
    try:
        mode = os.stat(path).st_mode  # a path of 4,000 characters is an OSError
    except OSError as error:
        if glob.has_magic(path):
            return _matches(path, excluded)
        raise ValueError(f"images={shown}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        if not os.access(path, os.R_OK | os.X_OK):
            raise ValueError(f"images={shown}: the directory cannot be read")
        return (_file_source(file, name) for file, name in _walk(path, excluded))
    if not stat.S_ISREG(mode):
        raise ValueError(f"images={shown}: neither a file nor a directory")
    return archive_sources(Path(path)) or iter([_file_source(path, os.path.basename(path))])


def _file_source(path: str, name: str) -> ImageSource:
    return ImageSource(path, name, partial(read_file, path))


def _walk(root: str, excluded: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Path and name relative to `root` of all files below it; also of a directory that cannot be listed."""
    start = len(os.path.join(root, ""))
    stack = [(root, _entries(root, excluded))]
    while stack:
        path, entries = stack[-1]
        try:
            entry = next(entries, None)
        except OSError:
            entry = None
            yield path, path[start:]  # reading it reports the reason
        if entry is None:
            stack.pop()
        elif entry.is_dir(follow_symlinks=False):
            stack.append((entry.path, _entries(entry.path, excluded)))
        elif not _is_link_to_directory(entry):
            yield entry.path, entry.path[start:]


def _entries(directory: str, excluded: frozenset[str]) -> Iterator["os.DirEntry[str]"]:
    """The entries of a directory, sorted by name. It is listed once for each MAX_ENTRIES of them."""
    names = {os.path.basename(path) for path in excluded}
    last = ""
    while True:
        with os.scandir(directory) as listed:
            later = (entry for entry in listed if entry.name > last)
            entries = heapq.nsmallest(MAX_ENTRIES, later, key=attrgetter("name"))
        for entry in entries:
            if entry.name not in names or os.path.realpath(entry.path) not in excluded:
                yield entry
        if len(entries) < MAX_ENTRIES:
            return
        last = entries[-1].name


def _is_link_to_directory(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False  # such as a link to itself; reading it reports the reason


def _matches(pattern: str, excluded: frozenset[str]) -> Iterator[ImageSource]:
    """The files that match, and those in directories that match."""
    parts = Path(pattern).parts
    num_fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    fixed = str(Path(*parts[:num_fixed]))
    start = 0 if fixed == "." else len(os.path.join(fixed, ""))
    for path in _match(fixed, parts[num_fixed:], {0}, excluded):
        name = "" if path == fixed else path[start:]
        if os.path.isdir(path):
            for file, below in _walk(path, excluded):
                yield _file_source(file, os.path.join(name, below))
        else:
            yield _file_source(path, name)


def _match(directory: str, parts: tuple[str, ...], next_parts: set[int], excluded: frozenset[str]) -> Iterator[str]:
    """The paths that match the parts from these on, each once; as in a shell, * matches no leading dot."""
    for index in range(len(parts)):
        if index in next_parts and parts[index] == "**":
            next_parts.add(index + 1)  # it also matches no directory
    if len(parts) in next_parts:
        yield directory
        return
    first = min(next_parts)
    if len(next_parts) == 1 and not glob.has_magic(parts[first]):  # not listed, and may be a link
        path = parts[first] if directory == "." else os.path.join(directory, parts[first])
        if first + 1 < len(parts) and os.path.isdir(path):
            yield from _match(path, parts, {first + 1}, excluded)
        elif first + 1 == len(parts) and os.path.lexists(path):
            yield path
        return
    patterns = [(index, parts[index], re.compile(translate(parts[index])).match) for index in next_parts]
    try:
        for entry in _entries(directory, excluded):
            is_directory, following = entry.is_dir(follow_symlinks=False), set()
            for index, part, is_match in patterns:
                if is_match(entry.name) and (part.startswith(".") or not entry.name.startswith(".")):
                    following.add(index if part == "**" else index + 1)
            path = entry.name if directory == "." else entry.path
            if len(parts) in following and not _is_link_to_directory(entry):
                yield path
            elif following and is_directory:
                yield from _match(path, parts, following, excluded)
    except OSError:
        return  # as a shell does: a directory that cannot be listed matches nothing


def _read_paths(stdin: BinaryIO) -> Iterator[ImageSource]:
    """Paths until the end of the input; separated by NUL characters if its first block has one."""
    read = getattr(stdin, "read1", stdin.read)  # read1 does not wait for a full block
    separator, rest = b"", b""
    while block := read(MAX_LINE):
        separator = separator or (b"\0" if b"\0" in block else b"\n")
        *lines, rest = (rest + block).split(separator)
        for line in lines:
            yield from _path_source(line)
        if len(rest) > MAX_LINE:
            raise ValueError(
                f"images=-: a path of more than {MAX_LINE:,} bytes; paths are separated by newlines or NUL"
            )
    yield from _path_source(rest)


def _path_source(line: bytes) -> Iterator[ImageSource]:
    path = os.fsdecode(line.removesuffix(b"\r"))
    if path:
        yield _file_source(path, path)
