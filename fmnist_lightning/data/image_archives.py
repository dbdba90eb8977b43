"""Streams the images in zip and tar archives, which are untrusted input: nothing is written, and sizes are limited.

Of a zip archive the table of contents is read entry by entry: the standard library's reader holds all of it in memory.
"""

import gzip
import struct
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from fmnist_lightning.data.image_files import MAX_BYTES, ImageSource

TOO_LARGE = f"larger than {MAX_BYTES / 2**20:.0f} MiB"
MAX_RATIO = 200  # of a tar.gz archive's unpacked to its packed size; images are packed already
# the zip format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.14 to 16
_END, _ENTRY, _MEMBER = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_END64, _LOCATOR64 = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")


def archive_sources(path: Path) -> Iterator[ImageSource] | None:
    """The members of a zip, tar or tar.gz archive, recognised by content; None for any other file.

    A damaged archive ends with a source whose reading raises the reason.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_sources(path)
    if start.startswith(b"\x1f\x8b") or start[257:262] == b"ustar":
        return _tar_sources(path, is_packed=start.startswith(b"\x1f\x8b"))
    return None


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


class _ZipMember(NamedTuple):
    name: str
    flags: int
    method: int
    checksum: int
    packed: int  # bytes
    size: int  # bytes
    offset: int


def _zip_sources(path: Path) -> Iterator[ImageSource]:
    total_packed, size = 0, path.stat().st_size
    try:
        for member in _zip_members(path):
            if member.name.endswith("/") or member.name.startswith("__MACOSX/"):
                continue
            total_packed += member.packed
            if total_packed > size:
                raise ValueError("damaged archive: its members overlap")
            yield ImageSource(member.name, member.name, partial(_read_zip_member, path, member))
    except (ValueError, struct.error, OSError) as error:
        message = str(error) if isinstance(error, ValueError) else "damaged archive"
        yield ImageSource(str(path), path.name, partial(_raise, message))


def _zip_members(path: Path) -> Iterator[_ZipMember]:
    with path.open("rb") as file:
        position, stop = _find_table(file)
        file.seek(position)
        while position < stop:
            entry = _ENTRY.unpack(file.read(_ENTRY.size))
            if entry[0] != b"PK\x01\x02":
                raise ValueError("damaged archive")
            flags, method, checksum = entry[3], entry[4], entry[7]
            name = file.read(entry[10]).decode("utf-8" if flags & 0x800 else "cp437", "surrogateescape")
            numbers = _zip64_numbers([entry[9], entry[8], entry[16]], file.read(entry[11]))
            file.read(entry[12])  # a comment
            position = file.tell()
            size, packed, offset = numbers
            yield _ZipMember(name.partition("\0")[0], flags, method, checksum, packed, size, offset)


def _find_table(file: BinaryIO) -> tuple[int, int]:
    """Start and end of the table of contents."""
    length = file.seek(0, 2)
    tail_start = max(0, length - _END.size - 2**16)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0:
        raise ValueError("damaged archive: it has no end")
    end, (size, offset) = tail_start + found, _END.unpack_from(tail, found)[5:7]
    file.seek(max(0, end - _LOCATOR64.size))
    locator = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
    if locator[0] == b"PK\x06\x07":
        end -= _LOCATOR64.size + _END64.size
        file.seek(end)
        end64 = _END64.unpack(file.read(_END64.size))
        if end64[0] != b"PK\x06\x06":
            raise ValueError("damaged archive")
        size, offset = end64[8:10]
    if size + offset > end:
        raise ValueError("damaged archive")
    return offset, offset + size


def _zip64_numbers(numbers: list[int], extra: bytes) -> list[int]:
    """Size, packed size and offset; those that do not fit into 32 bits stand in the extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            large = iter(struct.unpack(f"<{length // 8}Q", extra[4 : 4 + length // 8 * 8]))
            return [next(large, number) if number == 2**32 - 1 else number for number in numbers]
        extra = extra[4 + length :]
    return numbers


def _read_zip_member(path: Path, member: _ZipMember) -> bytes:
    if member.size > MAX_BYTES or member.packed > MAX_BYTES:
        raise ValueError(TOO_LARGE)
    if member.flags & 1:
        raise ValueError("encrypted")
    if member.method not in (0, 8):
        raise ValueError(f"compressed with method {member.method}; only stored and deflated members are read")
    with path.open("rb", buffering=0) as file:
        file.seek(member.offset)
        header = file.read(_MEMBER.size)
        if len(header) < _MEMBER.size or header[:4] != b"PK\x03\x04":
            raise ValueError("damaged archive")
        *_, name_length, extra_length = _MEMBER.unpack(header)
        file.seek(name_length + extra_length, 1)
        data = file.read(member.packed)
    if member.method == 8:
        try:
            data = zlib.decompressobj(-15).decompress(data, member.size + 1)
        except zlib.error:
            raise ValueError("damaged archive") from None
    if len(data) != member.size or zlib.crc32(data) != member.checksum:
        raise ValueError("damaged archive: wrong size or checksum")
    return data


class _Limited:
    """An archive's unpacked content, which tarfile reads: no read or jump is as long as a decompression bomb's."""

    def __init__(self, file: BufferedIOBase, limit: int) -> None:
        self.file, self.limit = file, limit
        self.tell = file.tell
        self.last = b""  # what was read last

    def read(self, size: int) -> bytes:
        if size > MAX_BYTES:
            raise ValueError("damaged archive")
        self.last = self.file.read(size)
        return self.last

    def seek(self, position: int) -> int:
        if position > self.limit:
            raise ValueError(f"unpacked more than {MAX_RATIO} times as large as the archive; the rest is not read")
        return self.file.seek(position)


def _tar_sources(path: Path, is_packed: bool) -> Iterator[ImageSource]:
    size = path.stat().st_size
    limit = MAX_RATIO * size + MAX_BYTES if is_packed else size
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) if is_packed else raw as file:
            limited = _Limited(file, limit)
            tar = tarfile.TarFile(fileobj=limited, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep every member
                if member.isdir():
                    continue
                if member.size > MAX_BYTES:
                    yield ImageSource(member.name, member.name, partial(_raise, TOO_LARGE))
                elif not member.isreg():
                    yield ImageSource(member.name, member.name, partial(_raise, "a link or a device in the archive"))
                else:
                    extracted = tar.extractfile(member)
                    assert extracted is not None
                    data = extracted.read()
                    yield ImageSource(member.name, member.name, partial(bytes, data), len(data))
            if limited.last.strip(b"\0"):  # tarfile takes a damaged header for the end
                raise ValueError("damaged archive: the rest is not read")
    except (ValueError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        message = str(error) if isinstance(error, ValueError) else f"damaged archive, or none: {error}"
        yield ImageSource(str(path), path.name, partial(_raise, message))
