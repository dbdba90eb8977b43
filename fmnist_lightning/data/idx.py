"""Reads an idx file of the dataset, gzipped or not, as a tensor."""

import gzip
import io
import math
import zlib

import numpy as np
import torch
from torch import Tensor

GZIP = b"\x1f\x8b"  # how every gzip file starts; an idx file starts with two zero bytes


def read_idx(name: str, content: bytes, max_bytes: int) -> Tensor:
    """Reads two zero bytes, type 8 (uint8), the number of dimensions, the sizes, the values.

    Returns:
        Images (N, 28, 28) uint8 if the file's name contains "images", else labels (N,) int64.

    Raises:
        ValueError: the content is something else, or unpacks to more than max_bytes.
    """
    plain = content
    if content.startswith(GZIP):
        try:
            plain = gzip.GzipFile(fileobj=io.BytesIO(content)).read(max_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{name}: cannot be unpacked: {error}") from error
    if len(plain) > max_bytes:
        raise ValueError(f"{name}: unpacks to more than {max_bytes} bytes, which no file of the dataset does")
    rank = 3 if "images" in name else 1
    header = 4 + 4 * rank
    is_idx = plain[:4] == bytes([0, 0, 8, rank]) and len(plain) >= header
    sizes = np.frombuffer(plain, dtype=">i4", count=rank, offset=4).tolist() if is_idx else []
    if not is_idx or min(sizes) < 1 or math.prod(sizes) != len(plain) - header:
        raise ValueError(f"{name}: no idx file of {rank} sizes and as many bytes as they say")
    values = np.frombuffer(plain, dtype=np.uint8, offset=header)
    if rank == 3 and sizes[1:] != [28, 28]:
        raise ValueError(f"{name}: images of {sizes[1]} x {sizes[2]}, where the dataset has 28 x 28")
    if rank == 1 and values.max() > 9:
        raise ValueError(f"{name}: a label of {values.max()}, where the dataset has 0 to 9")
    # numpy says MemoryError where torch has a RuntimeError
    return torch.from_numpy(values.reshape(sizes).copy() if rank == 3 else values.astype(np.int64))
