"""Downloads one complete file from a mirror, with limits on time and size.

A separate thread reads: within a header or the size of a chunk a server may send a byte at a time, and no timeout of a
socket ends that. A cancelled thread ends with its connection or with the program.
"""

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
SLOW = 5  # seconds after which a download is reported
GRACE, SLOWEST = 60, 10_000  # seconds after which a server must have sent this many bytes a second on average


def download(mirror: str, name: str, max_bytes: int) -> bytes:
    """The content of the file `name` of a mirror: a directory, or an http(s)/file URL.

    Raises:
        OSError: the mirror does not answer, refuses, or is too slow.
        ValueError: it is no regular file, too large, or ends early.
        http.client.HTTPException: the server's answer is not HTTP.
    """
    thread = _DownloadThread(mirror, name, max_bytes)
    thread.start()
    started, is_reported = time.monotonic(), False
    try:
        with rich.progress.Progress(transient=True, disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task(f"downloading {name}", total=None)
            while thread.is_alive():
                thread.join(timeout=0.1)
                read, seconds = len(thread.content), time.monotonic() - started
                bar.update(task, completed=read, total=thread.announced or None)
                if bar.disable and seconds > SLOW and not is_reported:  # a log file has no bar
                    print(f"downloading {name} from {mirror}", flush=True)
                    is_reported = True
                if thread.is_alive() and seconds > GRACE and read < SLOWEST * seconds:
                    raise TimeoutError(f"{name} comes too slowly, {read} bytes in {seconds:.0f} s")
    finally:
        thread.cancelled = True
    if thread.error is not None:
        raise thread.error
    if thread.announced > len(thread.content):
        raise ValueError(f"{name} there ends after {len(thread.content)} of {thread.announced} bytes")
    return bytes(thread.content)


class _DownloadThread(threading.Thread):
    def __init__(self, mirror: str, name: str, max_bytes: int) -> None:
        super().__init__(daemon=True)
        self.mirror, self.file_name, self.max_bytes = mirror, name, max_bytes
        self.content, self.cancelled = bytearray(), False
        self.announced = 0  # bytes; 0 if the server does not say
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with _open(self.mirror, self.file_name) as source:
                self.announced = int(getattr(source, "headers", {}).get("Content-Length") or 0)
                while not self.cancelled and (block := source.read1(2**18)):  # read() would wait for a full block
                    self.content += block
                    if len(self.content) > self.max_bytes:
                        raise ValueError(f"{self.file_name} there has more than {self.max_bytes} bytes")
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
