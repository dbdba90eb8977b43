"""Damaged archives, lying ones, rude servers: never trained on, and told by name."""

import contextlib
import gzip
import hashlib
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_lightning.data import FashionMNISTData, archives, download
from tests.conftest import idx

NAMES = list(archives.PUBLISHED_MD5)


def damages(content: bytes, other: bytes, shape: tuple[int, ...]) -> dict[str, bytes]:
    """What may have become of an archive, by what it is."""
    cut = {f"truncated to {i}/20": content[: len(content) * i // 20] for i in range(20)}
    flipped = {}
    for place in (0, 3, 9, len(content) // 3, len(content) // 2, len(content) - 8, len(content) - 1):
        flipped[f"a bit flipped at {place}"] = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    return cut | flipped | {"swapped": other, "other images": gzip.compress(idx(np.zeros(shape)))}


@pytest.mark.parametrize("name", NAMES)
def test_damaged_archive_is_named_or_downloaded_again(name, mirror, tmp_path, recovers):
    root = tmp_path / "data"
    good = archives.load(root, [str(mirror)])
    path = root / "FashionMNIST" / "raw" / name
    other = (mirror / NAMES[NAMES.index(name) - 1]).read_bytes()
    shape = (40, 28, 28) if "images" in name else (40,)  # the right shape under the right name, but MNIST's, say
    for what, content in damages(path.read_bytes(), other, shape).items():
        path.write_bytes(content)
        with recovers():
            with pytest.raises(ValueError, match=f"{name} is not the published archive"):
                archives.load(root, [])
            assert path.read_bytes() == content, what  # refused, not deleted
            again = archives.load(root, [str(mirror)])
            assert all(torch.equal(a, b) for a, b in zip(good, again, strict=True)), what


@pytest.mark.parametrize("name", NAMES)
def test_non_file_in_place_of_an_archive_is_named_or_replaced(name, mirror, tmp_path):
    root = tmp_path / "data"
    good = archives.load(root, [str(mirror)])
    path = root / "FashionMNIST" / "raw" / name
    path.unlink()
    for put in (
        lambda: path.symlink_to(path),
        lambda: path.symlink_to(root / "nowhere"),
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
    ):
        put()
        for source in ("fashion_mnist", "auto"):  # never quietly replaced by drawings
            with pytest.raises(ValueError, match=f"{path} is not the published archive but no file at all"):
                FashionMNISTData(source, root=str(root), mirrors=[]).setup()
        if path.is_dir() and not path.is_symlink():  # may hold something: not removed
            with pytest.raises(OSError, match=f"directory.*{path}"):
                archives.load(root, [str(mirror)])
            path.rmdir()
        else:
            again = archives.load(root, [str(mirror)])
            assert all(torch.equal(a, b) for a, b in zip(good, again, strict=True))
            path.unlink()


def test_unreadable_archive_is_named_or_downloaded_again(mirror, tmp_path, monkeypatch):
    root = tmp_path / "data"
    archives.load(root, [str(mirror)])
    path = root / "FashionMNIST" / "raw" / NAMES[1]
    opened = Path.open

    def refusing(self, *args, **kwargs):  # as the system does where the reader is not root
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refusing)
    with pytest.raises(ValueError, match=f"{path} cannot be read: Permission denied"):
        archives.load(root, [])
    assert archives.load(root, [str(mirror)])[1].shape == (40,)


LIES = {
    "train-images": [
        idx(np.zeros(40)),
        idx(np.zeros((0, 28, 28))),
        b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01\0",
        idx(np.zeros((2, 27, 28))),
        idx(np.zeros((2, 28, 28)))[:-1],
        b"\0\0\x08\x03",
        b"",
    ],
    "train-labels": [
        idx(np.full(40, 10)),
        idx(np.zeros((2, 28, 28))),
        b"\0\0\x08\x01\xff\xff\xff\xff",
        b"\0\0\x08\x01\0\0\0\0",
        idx(np.zeros(39)),  # the images are 40
        b"\0\0\x0d\x01\0\0\0\0",
    ],
}


def test_archive_with_inconsistent_content_is_rejected_and_named(mirror, monkeypatch, recovers):
    for start, contents in LIES.items():
        name = next(name for name in NAMES if name.startswith(start))
        kept = (mirror / name).read_bytes()
        for content in contents:
            (mirror / name).write_bytes(gzip.compress(content))
            md5 = hashlib.md5((mirror / name).read_bytes()).hexdigest()
            monkeypatch.setitem(archives.PUBLISHED_MD5, name, md5)
            with recovers(), pytest.raises(ValueError, match=f"{name}: "):
                archives.load(mirror, [])
        for content in (
            b"",
            kept[:-9],
            kept[: len(kept) // 2] + bytes(9),
            b"no gzip",
        ):  # whatever is published, it is no traceback
            (mirror / name).write_bytes(content)
            monkeypatch.setitem(archives.PUBLISHED_MD5, name, hashlib.md5(content).hexdigest())
            with recovers(), pytest.raises(ValueError, match=f"{name}: "):
                archives.load(mirror, [])
        (mirror / name).write_bytes(kept)
        monkeypatch.setitem(archives.PUBLISHED_MD5, name, hashlib.md5(kept).hexdigest())


def test_gzip_bomb_is_not_unpacked_and_a_huge_file_not_read(mirror, monkeypatch):
    bomb = gzip.compress(bytes(300 * 2**20))
    (mirror / NAMES[0]).write_bytes(bomb)
    monkeypatch.setitem(archives.PUBLISHED_MD5, NAMES[0], hashlib.md5(bomb).hexdigest())
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"{NAMES[0]}: unpacks to more than"):
        archives.load(mirror, [])
    with (mirror / NAMES[0]).open("wb") as giant:
        giant.truncate(10 * 2**30)  # a hole, which takes no disk
    with pytest.raises(ValueError, match=f"{NAMES[0]} is not the published archive"):
        archives.load(mirror, [])
    assert tracemalloc.get_traced_memory()[1] < 4 * archives.MAX_ARCHIVE_BYTES
    tracemalloc.stop()


def test_full_disk_error_names_the_path_and_leaves_no_partial_archive(mirror, tmp_path):
    program = (
        "import json, resource, sys\n"
        "from fmnist_lightning.data import archives\n"
        "archives.PUBLISHED_MD5 = json.loads(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: archives.load(sys.argv[2], [sys.argv[3]])\n"
        "except OSError as error: print(error)\n"
    )
    arguments = [json.dumps(archives.PUBLISHED_MD5), str(tmp_path / "data"), str(mirror)]
    answer = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    path = tmp_path / "data" / "FashionMNIST" / "raw" / NAMES[0]
    assert answer.stdout == f"[Errno 27] File too large: '{path}'\n"
    assert [entry.name for entry in path.parent.iterdir() if entry.name != ".lock"] == []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux limits what a process may address")
def test_too_little_memory_is_a_one_line_error_that_names_what_needs_it(mirror, tmp_path):
    giant = tmp_path / "giant"
    giant.mkdir()
    with (giant / NAMES[0]).open("wb") as file:
        file.truncate(archives.MAX_ARCHIVE_BYTES)  # a hole, which takes no disk
    program = (
        "import json, resource, sys\n"
        "from fmnist_lightning.data import archives\n"
        "archives.PUBLISHED_MD5 = json.loads(sys.argv[1])\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 20 * 2**20,) * 2)\n"
        "for root in sys.argv[2:]:\n"  # the one unpacks, the other reads
        "    try: archives.load(root, [])\n"
        "    except MemoryError as error: print(error)\n"
    )
    arguments = [json.dumps(archives.PUBLISHED_MD5), str(mirror), str(giant)]
    answer = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    expected = "not enough memory to load Fashion-MNIST from {}: it takes about 200 MB, of which 55 MB stay"
    assert answer.stdout.splitlines() == [expected.format(root) for root in (mirror, giant)]


@pytest.fixture
def rude(request):
    """A server that answers every request with the given bytes and hangs up."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(request.param)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


LOGIN = b"<html>please log in</html>"
RUDE = {
    b"": "closed connection",
    b"hello\r\n": "hello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf": "IncompleteRead",
    b"HTTP/1.1 404 Gone\r\n\r\n": "HTTP Error 404: Gone",
    b"HTTP/1.1 500 \x1b[2J" + 9999 * b"o" + b"\r\n\r\n": "HTTP Error 500: [^\x1b]*o",
    b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n" + LOGIN: "is a web page",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf a f": "ends after 8 of 9 bytes",
    b"HTTP/1.1 200 OK\r\nContent-Length: much\r\n\r\n": "much",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n": "redirect.* infinite loop",
}


@pytest.mark.parametrize("rude", RUDE, indirect=True)
def test_server_error_is_in_the_one_line_error(rude, mirror, tmp_path, request):
    reason = RUDE[request.node.callspec.params["rude"]]
    with pytest.raises(
        archives.UnreachableError, match=f"{rude}: .*{reason}.*; {tmp_path}/nothing: .*No such file"
    ) as e:
        archives.load(tmp_path / "data", [rude, str(tmp_path / "nothing")])
    assert len(str(e.value).splitlines()) == 1
    assert len(str(e.value)) < 2000


@contextlib.contextmanager
def dripping(head: bytes, body: bytes, step: int, seconds: float, complete: list[bytes] | None = None):
    """A server that sends what it has by so many bytes, pausing so long after each; lists what it sent completely."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            with contextlib.suppress(OSError):
                self.wfile.write(head)
                for i in range(0, len(body), step):
                    self.wfile.write(body[i : i + step])
                    time.sleep(seconds)
                if complete is not None:
                    complete.append(body)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",  # a header without an end
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",  # the size of a chunk without an end
    ],
)
def test_too_slow_download_is_aborted_in_any_part_of_the_response(head, mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "GRACE", 0.5)
    complete: list[bytes] = []
    with dripping(head, 400 * b"x", 1, 0.05, complete) as slow:
        assert archives.load(tmp_path / "other", [slow, str(mirror)])[0].shape == (40, 28, 28)
        assert complete == []  # none of the 4 archives was waited for
        with pytest.raises(archives.UnreachableError, match=f"{slow}: {NAMES[0]} comes too slowly, [0-9]+ bytes in"):
            archives.load(tmp_path / "data", [slow])


def test_slow_connection_is_waited_for(mirror, monkeypatch):
    monkeypatch.setattr(download, "GRACE", 0.3)
    content = (mirror / NAMES[0]).read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    with dripping(head, content, 1500, 0.05) as slow:  # 30 kB a second, 1 s in all
        assert download.download(slow, NAMES[0], archives.MAX_ARCHIVE_BYTES) == content


def test_pipe_in_a_mirror_is_not_waited_for(mirror, tmp_path):
    pipes = tmp_path / "pipes"
    pipes.mkdir()
    for name in NAMES:
        os.mkfifo(pipes / name)
    assert archives.load(tmp_path / "data", [str(pipes), str(mirror)])[0].shape == (40, 28, 28)


@pytest.mark.parametrize("rude", RUDE, indirect=True)
def test_server_with_invalid_http_is_skipped(rude, mirror, tmp_path):
    mirrors = [rude, "http://127.0.0.1:1", "http://no such host/", str(mirror)]
    assert archives.load(tmp_path / "data", mirrors)[0].shape == (40, 28, 28)


def test_file_larger_than_any_archive_is_not_read_to_its_end(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 1000)
    with pytest.raises(archives.UnreachableError, match="more than 1000 bytes"):
        archives.load(tmp_path / "data", [str(mirror)])


@pytest.mark.slow
def test_eight_concurrent_processes_succeed_and_download_once(server, tmp_path):
    program = (
        "import json, os, sys\n"
        "from fmnist_lightning.data import archives\n"
        "archives.PUBLISHED_MD5 = json.loads(sys.argv[1])\n"
        "children = []\n"
        "for _ in range(8):\n"
        "    if (pid := os.fork()) == 0:\n"
        "        os._exit(len(archives.load(sys.argv[2], [sys.argv[3]])[0]))\n"
        "    children.append(pid)\n"
        "print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])\n"
    )
    arguments = [json.dumps(archives.PUBLISHED_MD5), str(tmp_path / "data"), server.url]
    answer = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["40"] * 8, answer.stderr
    assert server.asked == dict.fromkeys(NAMES, 1)
