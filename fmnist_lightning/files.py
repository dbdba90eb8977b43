"""How a file is written: whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes under a temporary name in the same folder, flushes to disk, and renames into place.

    Args:
        path: of the file; its folder must exist.
        content: text (as UTF-8) or bytes.

    Raises:
        OSError: the disk is full or the folder cannot be written; the file is as it was before.
    """
    data = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)  # mkstemp lets nobody else read
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
