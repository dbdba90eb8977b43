"""Downloads one complete file from a mirror, with limits on time and size.

A separate thread reads: a server may trickle bytes where a deadline between blocks is never reached, within a header or
the size of a chunk. A thread that is given up ends with its connection or with the program.
"""

import os
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import rich.progress

TIMEOUT = 15  # seconds without a byte from a server
GRACE, SLOWEST = 60, 10_000  # seconds after which a server must have sent this many bytes a second on average


def download(mirror: str, name: str, largest: int) -> bytes:
    """Reads a file.

    Args:
        mirror: a directory, or an http(s)/file URL.
        name: of the file there.
        largest: maximum size in bytes; reading ends there.

    Raises:
        OSError: the mirror does not answer, refuses, or is too slow.
        ValueError: it is no regular file, too large, or ends early.
        http.client.HTTPException: the server's answer is not HTTP.
    """
    reading = _Reading(mirror, name, largest)
    reading.start()
    started = time.monotonic()
    try:
        with rich.progress.Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task(name, total=None)
            while reading.is_alive():
                reading.join(timeout=0.1)
                read, seconds = len(reading.content), time.monotonic() - started
                bar.update(task, completed=read, total=reading.announced or None)
                if reading.is_alive() and seconds > GRACE and read < SLOWEST * seconds:
                    raise TimeoutError(f"{name} comes too slowly, {read} bytes in {seconds:.0f} s")
    finally:
        reading.given_up = True
    if reading.error is not None:
        raise reading.error
    if reading.announced > len(reading.content):
        raise ValueError(f"{name} there ends after {len(reading.content)} of {reading.announced} bytes")
    return bytes(reading.content)


class _Reading(threading.Thread):
    """The content so far, its announced size (in bytes, 0 if none), and the error that ended the download."""

    def __init__(self, mirror: str, name: str, largest: int) -> None:
        super().__init__(daemon=True)
        self.mirror, self.file_name, self.largest = mirror, name, largest
        self.content, self.announced, self.given_up = bytearray(), 0, False
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with _open(self.mirror, self.file_name) as source:
                self.announced = _size(source)
                while not self.given_up and (block := source.read1(2**18)):  # read() would wait for a full block
                    self.content += block
                    if len(self.content) > self.largest:
                        raise ValueError(f"{self.file_name} there has more than {self.largest} bytes")
        except BaseException as error:  # raised again by `download`
            self.error = error


def _open(mirror: str, name: str) -> Any:
    if urllib.parse.urlsplit(mirror).scheme in ("http", "https", "file"):
        try:
            return urllib.request.urlopen(f"{mirror.rstrip('/')}/{name}", timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise
    path = Path(mirror).expanduser() / name
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise ValueError(f"{path} is no file")
    return path.open("rb")


def _size(source: Any) -> int:
    headers = getattr(source, "headers", None)
    if headers is not None:
        return int(headers.get("Content-Length") or 0)
    return os.fstat(source.fileno()).st_size
