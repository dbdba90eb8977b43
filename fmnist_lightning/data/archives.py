"""Finds or downloads the four official files, gzipped or unpacked, and verifies a checksum each time they are read.

Names, MD5 sums and layout are those of torchvision, whose reader does not verify unpacked files.
"""

import hashlib
import http.client
import logging
import os
from pathlib import Path

from filelock import FileLock
from torch import Tensor
from torchvision.datasets import FashionMNIST

from fmnist_lightning.data.download import download
from fmnist_lightning.data.idx import read_idx
from fmnist_lightning.runs.files import atomic_write

PUBLISHED_MD5: dict[str, str] = dict(FashionMNIST.resources)
UNPACKED_SHA256: dict[str, str] = {  # of what is in the archives that have the published MD5 sums
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
MIRROR_VARIABLE = "FASHION_MNIST_MIRROR"
MAX_ARCHIVE_BYTES = 64 * 2**20  # the largest file has 26 million bytes gzipped, 47 million unpacked

log = logging.getLogger(__name__)


class UnreachableError(OSError):
    """Archives are missing, and no mirror has them."""


def load(root: str | Path, mirrors: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reads Fashion-MNIST, after downloading files that are missing or damaged.

    Args:
        root: the directory that contains the files or `FashionMNIST/raw`; Keras's cache is searched after it.
        mirrors: directories or http(s)/file URLs, tried in order after the environment's FASHION_MNIST_MIRROR.

    Returns:
        Training images (60000, 28, 28) uint8, their labels (60000,) int64, test images (10000, 28, 28) and labels.

    Raises:
        UnreachableError: an archive is missing, and no mirror has it.
        ValueError: an archive on disk is not the published one, and no mirror has it.
        OSError: an archive cannot be written.
        MemoryError: the dataset does not fit in memory.
    """
    try:
        contents = {name: _find(Path(root), name)[0] for name in PUBLISHED_MD5}
        if missing := [name for name, content in contents.items() if content is None]:
            contents |= _download(Path(root), missing, [m for m in [os.environ.get(MIRROR_VARIABLE), *mirrors] if m])
        arrays = {n: read_idx(n, content, MAX_ARCHIVE_BYTES) for n, content in contents.items() if content is not None}
    except MemoryError as error:
        raise MemoryError(
            f"not enough memory to load Fashion-MNIST from {root}: it takes about 200 MB, of which 55 MB stay"
        ) from error
    for images, labels in (list(arrays)[:2], list(arrays)[2:]):
        if len(arrays[images]) != len(arrays[labels]):
            raise ValueError(f"{labels}: {len(arrays[labels])} labels, where {images} has {len(arrays[images])} images")
    train_images, train_labels, test_images, test_labels = arrays.values()
    return train_images, train_labels, test_images, test_labels


def is_on_disk(root: str | Path) -> bool:
    """Whether all four files are there, so that `load` downloads none."""
    return all(_find(Path(root), name)[0] is not None for name in PUBLISHED_MD5)


def _folders(root: Path) -> tuple[Path, Path, Path]:
    """The directories that are searched; missing archives are downloaded to the first one, torchvision's."""
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")  # noqa: PTH111 - stays where there is no home
    return root / "FashionMNIST" / "raw", root, Path(home) / "datasets" / "fashion-mnist"


def _find(root: Path, archive: str) -> tuple[bytes | None, list[str]]:
    """The first verified copy of a file, gzipped or unpacked; if none, None and the error of each copy."""
    disk_errors: list[str] = []
    for folder in _folders(root):
        for name in (archive, archive.removesuffix(".gz")):
            path = folder / name
            if path.is_symlink() or path.exists():  # a dangling link is reported too
                try:
                    return _read(path, archive), []
                except ValueError as error:
                    log.warning("%s; it is not used", error)
                    disk_errors.append(str(error))
    return None, disk_errors


def _read(path: Path, archive: str) -> bytes:
    """The content of an archive, or of the same file unpacked; ValueError if it is not the published one."""
    if not path.is_file():  # a directory, a pipe, a link to nowhere or to itself
        raise ValueError(f"{path} is not the published archive but no file at all")
    try:
        size = path.stat().st_size
        if size > MAX_ARCHIVE_BYTES:
            raise ValueError(f"{path} is not the published archive: it has {size} bytes")
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if path.name == archive:
        algorithm, actual, expected = "MD5", _md5(content), PUBLISHED_MD5[archive]
    else:
        algorithm, actual, expected = "SHA-256", hashlib.sha256(content).hexdigest(), UNPACKED_SHA256[path.name]
    if actual != expected:
        what = "archive" if path.name == archive else "archive's content"
        raise ValueError(f"{path} is not the published {what}: it has {algorithm} {actual}, published is {expected}")
    return content


def _md5(content: bytes | bytearray) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _download(root: Path, names: list[str], mirrors: list[str]) -> dict[str, bytes]:
    """Downloads archives atomically; of several processes one downloads, the others wait."""
    raw = _folders(root)[0]
    raw.mkdir(parents=True, exist_ok=True)
    with FileLock(raw / ".lock"):
        contents: dict[str, bytes] = {}
        for name in names:
            content, disk_errors = _find(root, name)  # another process may have downloaded it meanwhile
            mirror_errors: list[str] = []
            for mirror in mirrors:
                if content is not None:
                    break
                try:
                    content = _download_one(name, mirror)
                except (OSError, ValueError, http.client.HTTPException) as error:
                    mirror_errors.append(f"{mirror}: {_printable(error)}")
                else:
                    atomic_write(raw / name, content)  # an error here, such as a full disk, is not the mirror's
            if content is None:
                raise _missing_error(root, disk_errors, mirror_errors)
            contents[name] = content
        return contents


def _download_one(name: str, mirror: str) -> bytes:
    content = download(mirror, name, MAX_ARCHIVE_BYTES)
    if _md5(content) != PUBLISHED_MD5[name]:
        page = " and is a web page" if content.lstrip()[:1] == b"<" else ""
        raise ValueError(f"{name} there has MD5 {_md5(content)}{page}, published is {PUBLISHED_MD5[name]}")
    return content


def _printable(error: Exception) -> str:
    """An error's message on one line; a server wrote part of it, so it may be long or contain control characters."""
    message = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return message[:300] or type(error).__name__


def _missing_error(root: Path, disk_errors: list[str], mirror_errors: list[str]) -> Exception:
    tried = "; ".join(mirror_errors) or "none is given"
    if disk_errors:
        return ValueError(
            f"{'; '.join(disk_errors)}; it could not be downloaded again. Mirrors: {tried}. "
            f"Delete it or set {MIRROR_VARIABLE} to a directory or URL of the four archives"
        )
    raw, _, keras_cache = _folders(root)
    return UnreachableError(
        f"Fashion-MNIST is not in {raw}, {root} or {keras_cache}, and no mirror has it. Put "
        f"{', '.join(PUBLISHED_MD5)} (gzipped or unpacked) there, or set {MIRROR_VARIABLE} to a directory or URL of "
        f"the archives, or train on synthetic images with data=synthetic. Mirrors: {tried}"
    )
