"""Reads image files, which are untrusted input: limited formats, bytes and pixels, and one kind of error."""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# recognised by content, whatever a file is named. No format whose decoder starts other programs, such as EPS
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000  # 256 MB decoded with four channels
LONGEST_SIDE = 560  # pixels, to which photos.prepare_photo reduces a photo: 20 for each of the input


_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)  # 8-bit grayscale
_PNG_END = b"\0\0\0\0IEND\xae\x42\x60\x82"


class ImageSource(NamedTuple):
    """One image that has not been read."""

    path: str  # as the user can open it; in an archive the name of the member
    name: str  # relative to the directory, to the fixed part of the pattern, or to the archive
    read: Callable[[], bytes]  # its content; raises ValueError or OSError
    num_bytes: int = 0  # already in memory, of a member of a tar archive


def read_image(source: str | Path | bytes | BinaryIO) -> Image.Image:
    """A decoded image, upright, of any of Pillow's modes; of an animation the first frame.

    A large JPEG is decoded at a reduced size, which is faster; its longest side has at least 560 pixels.

    Args:
        source: a path, the content of a file, or a file opened for reading bytes.

    Raises:
        ValueError: empty, damaged or too large, or not an image of one of the formats.
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, str | Path):
        data = read_file(source)
    else:
        data = source.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES / 2**20:.0f} MiB")
    if not data:
        raise ValueError("empty file")
    with _reporting_damage():
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are allowed")
    with _reporting_damage():
        scale = min(1, LONGEST_SIDE / max(image.size))
        size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
        image.draft(None, size)  # does nothing with other formats
        image.load()
    with suppress(Exception):  # metadata may be damaged where pixels are not
        ImageOps.exif_transpose(image, in_place=True)
    upright = image.copy()
    upright.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return upright


def read_file(path: str | Path) -> bytes:
    """The content of a regular file of at most MAX_BYTES; never waits for a pipe.

    Raises:
        ValueError: not a regular file, or larger.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES / 2**20:.0f} MiB")
        data = os.read(descriptor, status.st_size)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def decode_input(data: bytes) -> np.ndarray | None:
    """The pixels (28, 28) uint8 of a plain PNG of an 8-bit grayscale image of that size; None for any other file.

    Half the time of read_image: the file's layout is known, so that nothing but the pixels is parsed.
    """
    if not (data.startswith(_PNG_START) and data.endswith(_PNG_END) and data[37:41] == b"IDAT"):
        return None
    length, checksum = int.from_bytes(data[33:37], "big"), int.from_bytes(data[-16:-12], "big")
    if length != len(data) - 57 or checksum != zlib.crc32(data[37:-16]):
        return None
    try:
        return np.asarray(Image.frombytes("L", (28, 28), data[41:-16], "zip", "L", 0))
    except ValueError:
        return None  # damaged: read_image says how


@contextmanager
def _reporting_damage() -> Iterator[None]:
    """Turns what decoders raise for damaged files, errors of many types, into ValueErrors."""
    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(f"not an image of these formats: {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:
        raise ValueError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from error
