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
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import rich.progress
import torch
from filelock import FileLock
from torch import Tensor
from torchvision.datasets import FashionMNIST

from fmnist_lightning.files import write_whole

CLASS_NAMES: tuple[str, ...] = tuple(FashionMNIST.classes)
PUBLISHED_MD5: dict[str, str] = dict(FashionMNIST.resources)
MIRROR_VARIABLE = "FASHION_MNIST_MIRROR"
TIMEOUT = 15  # seconds without a byte from a server
GRACE, SLOWEST = 60, 10_000  # seconds after which a server must have sent this many bytes a second on average
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
    """
    contents = {name: _trusted(Path(root), name) for name in PUBLISHED_MD5}
    missing = [name for name, content in contents.items() if content is None]
    if missing:
        fetched = _fetch(Path(root), missing, [m for m in [os.environ.get(MIRROR_VARIABLE), *mirrors] if m])
        contents |= fetched
    try:
        arrays = [_unpack(name, content) for name, content in contents.items()]
    except MemoryError as error:
        raise MemoryError(
            f"not enough memory for Fashion-MNIST in {root}: its images take 55 MB, unpacking as much"
        ) from error
    train_images, train_labels, test_images, test_labels = arrays
    return train_images, train_labels.long(), test_images, test_labels.long()


def _raw(root: Path) -> Path:
    return root / "FashionMNIST" / "raw"


def _trusted(root: Path, name: str) -> bytes | None:
    """The archive's bytes where one with the published MD5 lies in root."""
    for path in (_raw(root) / name, root / name):
        if path.is_file():
            if path.stat().st_size > LARGEST:
                log.warning(
                    "%s has more than %d bytes, which no archive of the dataset has; it is not used", path, LARGEST
                )
                continue
            content = path.read_bytes()
            if _md5(content) == PUBLISHED_MD5[name]:
                return content
            log.warning("%s is not the published archive (MD5 %s); it is not used", path, _md5(content))
    return None


def _md5(content: bytes | bytearray) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _unpack(name: str, content: bytes | None) -> Tensor:
    """The array in an idx file: two zero bytes, type 8 (uint8), the number of sizes, the sizes, the values.

    Raises:
        ValueError: the file is something else, or unpacks to more than any of the dataset.
    """
    assert content is not None
    plain = gzip.GzipFile(fileobj=io.BytesIO(content)).read(LARGEST + 1)
    if len(plain) > LARGEST:
        raise ValueError(f"{name}: unpacks to more than {LARGEST} bytes, which no file of the dataset does")
    rank = 3 if "images" in name else 1
    header = 4 + 4 * rank
    named = plain[:4] == bytes([0, 0, 8, rank]) and len(plain) >= header
    sizes = np.frombuffer(plain, dtype=">i4", count=rank, offset=4).tolist() if named else []
    if not named or min(sizes) < 0 or math.prod(sizes) != len(plain) - header:
        raise ValueError(f"{name}: no idx file of {rank} sizes and as many bytes as they say")
    values = np.frombuffer(plain, dtype=np.uint8, offset=header)
    if rank == 3 and sizes[1:] != [28, 28]:
        raise ValueError(f"{name}: images of {sizes[1]} x {sizes[2]}, where the dataset has 28 x 28")
    if rank == 1 and values.max(initial=0) > 9:
        raise ValueError(f"{name}: a label of {values.max()}, where the dataset has 0 to 9")
    return torch.from_numpy(values.reshape(sizes).copy())


def _fetch(root: Path, names: list[str], mirrors: list[str]) -> dict[str, bytes]:
    """Fetches archives into root, each whole or not at all; of several processes one fetches, the others wait."""
    raw = _raw(root)
    raw.mkdir(parents=True, exist_ok=True)
    with FileLock(raw / ".lock"):
        contents: dict[str, bytes] = {}
        for name in names:
            content = _trusted(root, name)  # another process may have fetched it meanwhile
            refusals: list[str] = []
            for mirror in mirrors:
                if content is not None:
                    break
                try:
                    content = _fetch_one(name, mirror)
                except (OSError, ValueError, http.client.HTTPException) as error:
                    refusals.append(f"{mirror}: {' '.join(str(error).split()) or type(error).__name__}")
                else:
                    write_whole(raw / name, content)  # a full disk is no fault of the mirror
            if content is None:
                raise _explain(root, name, refusals)
            contents[name] = content
        return contents


def _fetch_one(name: str, mirror: str) -> bytes:
    started = time.monotonic()
    content = bytearray()
    with _open(mirror, name) as source, rich.progress.Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
        size = _size(source)
        task = bar.add_task(name, total=size or None)
        while block := source.read1(2**18):  # what is there: read() would wait for a trickle to fill it
            content += block
            bar.update(task, completed=len(content))
            seconds = time.monotonic() - started
            if len(content) > LARGEST:
                raise ValueError(f"{name} there has more than {LARGEST} bytes")
            if seconds > GRACE and len(content) < SLOWEST * seconds:
                raise TimeoutError(f"{name} comes too slowly, {len(content)} bytes in {seconds:.0f} s")
    if size > len(content):
        raise ValueError(f"{name} there ends after {len(content)} of {size} bytes")
    if _md5(content) != PUBLISHED_MD5[name]:
        page = " and is a web page" if content.lstrip()[:1] == b"<" else ""
        raise ValueError(f"{name} there has MD5 {_md5(content)}{page}, published is {PUBLISHED_MD5[name]}")
    return bytes(content)


def _open(mirror: str, name: str) -> Any:
    if urllib.parse.urlsplit(mirror).scheme in ("http", "https", "file"):
        return urllib.request.urlopen(f"{mirror.rstrip('/')}/{name}", timeout=TIMEOUT)
    return (Path(mirror).expanduser() / name).open("rb")


def _size(source: Any) -> int:
    headers = getattr(source, "headers", None)
    if headers is not None:
        return int(headers.get("Content-Length") or 0)
    return os.fstat(source.fileno()).st_size


def _explain(root: Path, name: str, refusals: list[str]) -> Exception:
    tried = "; ".join(refusals) or "none is given"
    present = next((path for path in (_raw(root) / name, root / name) if path.exists()), None)
    if present is not None:
        return ValueError(
            f"{present} is not the published archive (MD5 {PUBLISHED_MD5[name]}) and could not be fetched again. "
            f"Mirrors: {tried}. Delete it or set {MIRROR_VARIABLE} to a folder or URL that holds the four archives"
        )
    return UnreachableError(
        f"Fashion-MNIST is not in {_raw(root)}, and no mirror has it. Put {', '.join(PUBLISHED_MD5)} there, "
        f"or set {MIRROR_VARIABLE} to a folder or URL that holds them, or train on drawn garments with "
        f"data=synthetic. Mirrors: {tried}"
    )
