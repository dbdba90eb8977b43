"""Atomic writes, checksums of the files that were written, and how messages name them."""

import hashlib
import os
import tempfile
from pathlib import Path

MAX_CHECKSUM_BYTES = 4096  # a checksum file has one or two lines


def atomic_write(path: Path, content: str | bytes, flush: bool = True) -> None:
    """Writes a temporary file in the same directory, flushes it to disk, and renames it.

    Args:
        path: of the file; its directory must exist.
        content: text (as UTF-8) or bytes.
        flush: whether a power failure right after the call must not lose the new content; flushing takes milliseconds.

    Raises:
        OSError: the disk is full or the directory is not writable; names the path, whose file is unchanged.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp makes it readable for its owner only
        partial.replace(path)
        if flush:
            _flush_directory(path.parent)
    except OSError as error:
        # users know the file, not its temporary name
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def relative_path(path: str | Path) -> Path:
    """The path relative to the working directory if it is below it, else as it is; shorter in messages and commands."""
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _flush_directory(directory: Path) -> None:
    """Makes a rename survive a power failure, where the system can (Windows cannot open directories)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def checksum_path(path: Path) -> Path:
    """The file next to `path` that holds its SHA-256, in the format of `sha256sum --check`.

    A comment may hold the SHA-256 of the file before, which is on disk until the new one replaces it.
    """
    return path.with_name(f"{path.name}.sha256")


def is_intact(path: Path) -> bool:
    """Whether the file exists and matches its checksum, if it has one."""
    if not path.is_file():
        return False
    checksum = checksum_path(path)
    if not checksum.is_file() or checksum.stat().st_size > MAX_CHECKSUM_BYTES:
        return not checksum.exists()
    return sha256(path).encode() in checksum.read_bytes().split()


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, max_bytes: int) -> str:
    """The text of a file from an untrusted source: no pipe, which may never end, and at most `max_bytes`.

    Raises:
        ValueError: it is not a regular file, is larger, or is not UTF-8.
        OSError: it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    if path.stat().st_size > max_bytes:
        raise ValueError(f"it has more than {max_bytes:,} bytes")
    return path.read_text(encoding="utf-8")
