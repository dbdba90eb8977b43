"""How a file is written, whole or not at all, and whether it still is what was written."""

import hashlib
import os
import tempfile
from pathlib import Path

LARGEST_SUMS = 4096  # bytes; ours has a line


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes under a temporary name in the same folder, flushes to disk, and renames into place.

    Args:
        path: of the file; its folder must exist.
        content: text (as UTF-8) or bytes.

    Raises:
        OSError: the disk is full or the folder cannot be written, naming the path; the file is as it was before.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp lets nobody else read
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        # the person who gets it knows the file, not its temporary name
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Has a new name survive a power cut, where the system can (Windows opens no folders)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sums_file(path: Path) -> Path:
    """The file beside another one that holds its SHA-256, as `sha256sum --check` reads it."""
    return path.with_name(f"{path.name}.sha256")


def is_whole(path: Path) -> bool:
    """Whether a file is there and, bit by bit, what was written; one without a checksum is taken as it is."""
    if not path.is_file():
        return False
    sums = sums_file(path)
    if not sums.is_file() or sums.stat().st_size > LARGEST_SUMS:
        return not sums.exists()
    return sha256(path).encode() in sums.read_bytes().split()


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
