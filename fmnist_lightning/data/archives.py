"""The four official archives: where they are looked for, fetched from, and when they are trusted.

An archive is trusted when its MD5 is the published one, each time it is read, and is unpacked into memory: no
unpacked file exists that could be truncated, flipped or swapped unseen. Names, checksums and layout are torchvision's;
its reader is not used, for it takes unpacked files alone, and believes them.
"""

import gzip
import hashlib
import http.client
import io
import logging
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torchvision.datasets import FashionMNIST

from fmnist_lightning.data.download import download
from fmnist_lightning.files import write_whole

CLASS_NAMES: tuple[str, ...] = tuple(FashionMNIST.classes)
PUBLISHED_MD5: dict[str, str] = dict(FashionMNIST.resources)
MIRROR_VARIABLE = "FASHION_MNIST_MIRROR"
LARGEST = 64 * 2**20  # bytes of an archive, and of what is in it: 26 and 47 million are the most

log = logging.getLogger(__name__)


class UnreachableError(OSError):
    """Archives are missing, and no mirror has them."""


def load(root: str | Path, mirrors: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reads Fashion-MNIST, fetching first what is missing or damaged.

    Args:
        root: the folder that holds the archives, itself or in `FashionMNIST/raw` (torchvision's layout).
        mirrors: folders or http(s)/file URLs, tried in order after the environment's FASHION_MNIST_MIRROR.

    Returns:
        Training images (60000, 28, 28) uint8, their labels (60000,) int64, test images (10000, 28, 28) and labels.

    Raises:
        UnreachableError: an archive is missing and no mirror has it.
        ValueError: an archive on disk is not the published one and no mirror has it.
        OSError: an archive cannot be written where it belongs.
        MemoryError: there is not enough for the dataset.
    """
    try:
        return _load(Path(root), [mirror for mirror in [os.environ.get(MIRROR_VARIABLE), *mirrors] if mirror])
    except MemoryError as error:
        raise MemoryError(
            f"not enough memory to load Fashion-MNIST from {root}: it takes about 200 MB, of which 55 MB stay"
        ) from error


def _load(root: Path, mirrors: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    contents = {name: _trusted(root, name)[0] for name in PUBLISHED_MD5}
    missing = [name for name, content in contents.items() if content is None]
    if missing:
        contents |= _fetch(root, missing, mirrors)
    arrays = [_unpack(name, content) for name, content in contents.items() if content is not None]
    names = list(PUBLISHED_MD5)
    for i in (0, 2):
        images, labels = arrays[i : i + 2]
        if len(images) != len(labels):
            raise ValueError(f"{names[i + 1]}: {len(labels)} labels, where {names[i]} has {len(images)} images")
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels, test_images, test_labels


def _raw(root: Path) -> Path:
    return root / "FashionMNIST" / "raw"


def _trusted(root: Path, name: str) -> tuple[bytes | None, str]:
    """The published archive's bytes where root has it; else none, and what is wrong with what lies in its place."""
    faults: list[str] = []
    for path in (_raw(root) / name, root / name):
        if path.is_symlink() or path.exists():  # a link to nowhere is there too, and never quietly passed over
            try:
                return _read(path, name), ""
            except ValueError as error:
                log.warning("%s; it is not used", error)
                faults.append(str(error))
    return None, "; ".join(faults)


def _read(path: Path, name: str) -> bytes:
    """The archive's bytes.

    Raises:
        ValueError: it is not the published one, or cannot be read.
    """
    if not path.is_file():  # a folder, a pipe, a link to nowhere or to itself
        raise ValueError(f"{path} is not the published archive but no file at all")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ValueError(f"{path} is not the published archive: it has {size} bytes")
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if _md5(content) != PUBLISHED_MD5[name]:
        raise ValueError(
            f"{path} is not the published archive: it has MD5 {_md5(content)}, published is {PUBLISHED_MD5[name]}"
        )
    return content


def _md5(content: bytes | bytearray) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpack(name: str, content: bytes) -> Tensor:
    """The array in an idx file: two zero bytes, type 8 (uint8), the number of sizes, the sizes, the values.

    Raises:
        ValueError: the file is something else, or unpacks to more than any of the dataset.
    """
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: cannot be unpacked: {error}") from error
    if len(plain) > LARGEST:
        raise ValueError(f"{name}: unpacks to more than {LARGEST} bytes, which no file of the dataset does")
    rank = 3 if "images" in name else 1
    header = 4 + 4 * rank
    named = plain[:4] == bytes([0, 0, 8, rank]) and len(plain) >= header
    sizes = np.frombuffer(plain, dtype=">i4", count=rank, offset=4).tolist() if named else []
    if not named or min(sizes) < 1 or math.prod(sizes) != len(plain) - header:
        raise ValueError(f"{name}: no idx file of {rank} sizes and as many bytes as they say")
    values = np.frombuffer(plain, dtype=np.uint8, offset=header)
    if rank == 3 and sizes[1:] != [28, 28]:
        raise ValueError(f"{name}: images of {sizes[1]} x {sizes[2]}, where the dataset has 28 x 28")
    if rank == 1 and values.max() > 9:
        raise ValueError(f"{name}: a label of {values.max()}, where the dataset has 0 to 9")
    # numpy says MemoryError where torch has a RuntimeError
    return torch.from_numpy(values.reshape(sizes).copy() if rank == 3 else values.astype(np.int64))


def _fetch(root: Path, names: list[str], mirrors: list[str]) -> dict[str, bytes]:
    """Fetches archives into root, each whole or not at all; of several processes one fetches, the others wait."""
    raw = _raw(root)
    raw.mkdir(parents=True, exist_ok=True)
    with FileLock(raw / ".lock"):
        contents: dict[str, bytes] = {}
        for name in names:
            content, faults = _trusted(root, name)  # another process may have fetched it meanwhile
            refusals: list[str] = []
            for mirror in mirrors:
                if content is not None:
                    break
                try:
                    content = _fetch_one(name, mirror)
                except (OSError, ValueError, http.client.HTTPException) as error:
                    refusals.append(f"{mirror}: {_in_words(error)}")
                else:
                    write_whole(raw / name, content)  # a full disk is no fault of the mirror
            if content is None:
                raise _explain(root, faults, refusals)
            contents[name] = content
        return contents


def _fetch_one(name: str, mirror: str) -> bytes:
    content = download(mirror, name, LARGEST)
    if _md5(content) != PUBLISHED_MD5[name]:
        page = " and is a web page" if content.lstrip()[:1] == b"<" else ""
        raise ValueError(f"{name} there has MD5 {_md5(content)}{page}, published is {PUBLISHED_MD5[name]}")
    return content


def _in_words(error: Exception) -> str:
    """What an error says, on one line; a server wrote some of it, so that it may be long or move the cursor."""
    words = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return words[:300] or type(error).__name__


def _explain(root: Path, faults: str, refusals: list[str]) -> Exception:
    tried = "; ".join(refusals) or "none is given"
    if faults:
        return ValueError(
            f"{faults}; it could not be fetched again. Mirrors: {tried}. "
            f"Delete it or set {MIRROR_VARIABLE} to a folder or URL that holds the four archives"
        )
    return UnreachableError(
        f"Fashion-MNIST is not in {_raw(root)}, and no mirror has it. Put {', '.join(PUBLISHED_MD5)} there, "
        f"or set {MIRROR_VARIABLE} to a folder or URL that holds them, or train on drawn garments with "
        f"data=synthetic. Mirrors: {tried}"
    )
