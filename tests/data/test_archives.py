"""The archives in the real file format, small: their own MD5 sums stand in for the published ones."""

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_lightning.data import FashionMNISTData, archives

NAMES = list(archives.PUBLISHED_MD5)


def idx(array: np.ndarray) -> bytes:
    """The array as an idx file: magic number with type and rank, big-endian sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with four small archives, published as the dataset's."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (40, 28, 28)),
        np.arange(40) % 10,
        rng.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    ]
    for name, array in zip(NAMES, arrays, strict=True):
        (folder / name).write_bytes(gzip.compress(idx(array)))
    monkeypatch.delenv(archives.MIRROR_VARIABLE, raising=False)
    monkeypatch.setattr(
        archives, "PUBLISHED_MD5", {n: hashlib.md5((folder / n).read_bytes()).hexdigest() for n in NAMES}
    )
    return folder


@pytest.fixture
def server(mirror):
    """The mirror over http, counting what is asked of it."""
    asked: Counter[str] = Counter()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(mirror), **kwargs)

        def do_GET(self):
            asked[self.path.removeprefix("/")] += 1
            super().do_GET()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.asked = asked
        running.url = f"http://127.0.0.1:{running.server_port}"
        yield running
        running.shutdown()


def test_archives_are_fetched_once_then_read_from_disk(server, tmp_path):
    root = tmp_path / "data"
    train_images, train_labels, test_images, test_labels = archives.load(root, [server.url])
    assert train_images.shape == (40, 28, 28)
    assert train_images.dtype == torch.uint8
    assert test_images.shape == (20, 28, 28)
    assert train_labels.tolist() == [i % 10 for i in range(40)]
    assert test_labels.dtype == torch.int64
    archives.load(root, [])  # no mirror is needed now
    assert server.asked == dict.fromkeys(NAMES, 1)
    assert sorted(p.name for p in (root / "FashionMNIST" / "raw").iterdir()) == sorted([".lock", *NAMES])


@pytest.mark.parametrize("scheme", ["{path}", "file://{path}"])
def test_a_folder_or_a_file_url_is_a_mirror(scheme, mirror, tmp_path):
    images = archives.load(tmp_path / "data", [scheme.format(path=mirror)])[0]
    assert images.shape == (40, 28, 28)


def test_the_environments_mirror_comes_first(mirror, server, tmp_path, monkeypatch):
    monkeypatch.setenv(archives.MIRROR_VARIABLE, str(mirror))
    archives.load(tmp_path / "data", [server.url])
    assert not server.asked


def test_archives_that_lie_in_the_root_itself_are_used_in_place(mirror):
    before = sorted(mirror.iterdir())
    assert archives.load(mirror, [])[0].shape == (40, 28, 28)
    assert sorted(mirror.iterdir()) == before


def damages(content: bytes, other: bytes, shape: tuple[int, ...]) -> dict[str, bytes]:
    """What may have become of an archive, by what it is."""
    cut = {f"truncated to {i}/20": content[: len(content) * i // 20] for i in range(20)}
    flipped = {}
    for place in (0, 3, 9, len(content) // 3, len(content) // 2, len(content) - 8, len(content) - 1):
        flipped[f"a bit flipped at {place}"] = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    return cut | flipped | {"swapped": other, "other images": gzip.compress(idx(np.zeros(shape)))}


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_archive_is_refused_by_name_or_fetched_again(name, mirror, tmp_path):
    root = tmp_path / "data"
    good = archives.load(root, [str(mirror)])
    path = root / "FashionMNIST" / "raw" / name
    other = (mirror / NAMES[NAMES.index(name) - 1]).read_bytes()
    shape = (40, 28, 28) if "images" in name else (40,)  # the right shape under the right name, but MNIST's, say
    for what, content in damages(path.read_bytes(), other, shape).items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not the published archive"):
            archives.load(root, [])
        assert path.read_bytes() == content, what  # refused, not deleted
        again = archives.load(root, [str(mirror)])
        assert all(torch.equal(a, b) for a, b in zip(good, again, strict=True)), what


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_a_dead_link_or_a_pipe_in_an_archives_place_is_refused_by_name(name, mirror, tmp_path):
    root = tmp_path / "data"
    archives.load(root, [str(mirror)])
    path = root / "FashionMNIST" / "raw" / name
    path.unlink()
    for put, take in (
        (path.mkdir, path.rmdir),
        (lambda: path.symlink_to(path), path.unlink),
        (lambda: os.mkfifo(path), path.unlink),
    ):
        put()
        with pytest.raises((ValueError, OSError), match=name):
            archives.load(root, [])
        take()


LIES = {
    "train-images": [
        idx(np.zeros(40)),
        idx(np.zeros((2, 27, 28))),
        idx(np.zeros((2, 28, 28)))[:-1],
        b"\0\0\x08\x03",
        b"",
    ],
    "train-labels": [
        idx(np.full(40, 10)),
        idx(np.zeros((2, 28, 28))),
        b"\0\0\x08\x01\xff\xff\xff\xff",
        b"\0\0\x0d\x01\0\0\0\0",
    ],
}


def test_an_archive_whose_inside_lies_is_refused_by_name(mirror, monkeypatch):
    for start, contents in LIES.items():
        name = next(name for name in NAMES if name.startswith(start))
        kept = (mirror / name).read_bytes()
        for content in contents:
            (mirror / name).write_bytes(gzip.compress(content))
            md5 = hashlib.md5((mirror / name).read_bytes()).hexdigest()
            monkeypatch.setitem(archives.PUBLISHED_MD5, name, md5)
            with pytest.raises(ValueError, match=f"{name}: "):
                archives.load(mirror, [])
        (mirror / name).write_bytes(kept)
        monkeypatch.setitem(archives.PUBLISHED_MD5, name, hashlib.md5(kept).hexdigest())


def test_a_gzip_bomb_is_not_unpacked_and_a_giant_not_read(mirror, monkeypatch):
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
    assert tracemalloc.get_traced_memory()[1] < 4 * archives.LARGEST
    tracemalloc.stop()


def test_a_full_disk_is_told_by_its_path_and_leaves_no_part_of_an_archive(mirror, tmp_path):
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


def test_a_mirror_with_other_files_is_passed_over(mirror, server, tmp_path):
    login_page = tmp_path / "login"
    login_page.mkdir()
    for name in NAMES:
        (login_page / name).write_text("<html>please log in</html>")
    nothing = tmp_path / "nothing"
    assert archives.load(tmp_path / "data", [str(nothing), str(login_page), server.url])[0].shape == (40, 28, 28)
    assert server.asked == dict.fromkeys(NAMES, 1)


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


RUDE = [
    b"",
    b"hello\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    b"HTTP/1.1 404 Gone\r\n\r\n",
    b"HTTP/1.1 500 Oh\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>hm",
    b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n",
]


def test_each_mirrors_reason_is_in_the_one_message(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "GRACE", 0.3)

    class Slow(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.05)

    class Rude(socketserver.StreamRequestHandler):
        def handle(self):
            which = self.rfile.readline().split(b"/")[1]
            self.wfile.write(RUDE[int(which)] if which.isdigit() else RUDE[-1])

    reasons = {
        0: "closed connection",
        3: "HTTP Error 404",
        4: "HTTP Error 500",
        5: "ends after 8 of 9 bytes",
        6: "redirect",
    }
    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Slow) as slow,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), Rude) as rude,
    ):
        for server in (slow, rude):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        mirrors = [f"http://127.0.0.1:{rude.server_address[1]}/{which}" for which in reasons]
        mirrors.append(f"http://127.0.0.1:{slow.server_address[1]}")
        with pytest.raises(archives.UnreachableError) as told:
            archives.load(tmp_path / "data", mirrors)
        for server in (slow, rude):
            server.shutdown()
    message = str(told.value)
    assert len(message.splitlines()) == 1
    for mirror_, reason in zip(mirrors, [*reasons.values(), "too slowly"], strict=True):
        assert re.search(f"{mirror_}: [^;]*{reason}", message), (reason, message)


@pytest.mark.parametrize("rude", RUDE, indirect=True)
def test_a_server_that_speaks_bad_http_is_passed_over(rude, mirror, tmp_path):
    mirrors = [rude, "http://127.0.0.1:1", "http://no such host/", str(mirror)]
    assert archives.load(tmp_path / "data", mirrors)[0].shape == (40, 28, 28)


def test_a_file_larger_than_any_archive_is_not_read_to_its_end(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 1000)
    with pytest.raises(archives.UnreachableError, match="more than 1000 bytes"):
        archives.load(tmp_path / "data", [str(mirror)])


def test_nothing_in_reach_is_one_message_that_says_what_to_do(tmp_path, mirror):
    root, away = tmp_path / "data", tmp_path / "away"
    with pytest.raises(archives.UnreachableError) as error:
        archives.load(root, [str(away)])
    for words in (str(root), *NAMES, archives.MIRROR_VARIABLE, "data=synthetic", str(away)):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_auto_draws_garments_only_where_the_dataset_is_out_of_reach(mirror, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    near = FashionMNISTData("auto", root=str(tmp_path / "near"), mirrors=[str(mirror)])
    near.setup()
    assert near.facts["data"] == "fashion_mnist"
    assert near.facts["data_note"] is None
    far = FashionMNISTData("auto", root=str(tmp_path / "far"), mirrors=[], num_train=40, num_test=20)
    far.setup()
    assert far.facts["data"] == "synthetic"
    assert "NOT Fashion-MNIST" in far.facts["data_note"]
    assert "NOT FASHION-MNIST" in capsys.readouterr().out
    (tmp_path / "near" / "FashionMNIST" / "raw" / NAMES[0]).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not the published archive"):  # never quietly replaced by drawings
        FashionMNISTData("auto", root=str(tmp_path / "near"), mirrors=[]).setup()


def test_eight_processes_at_once_all_succeed_and_fetch_once(server, tmp_path):
    program = (
        "import json, sys\n"
        "from fmnist_lightning.data import archives\n"
        "archives.PUBLISHED_MD5 = json.loads(sys.argv[1])\n"
        "print(len(archives.load(sys.argv[2], [sys.argv[3]])[0]))\n"
    )
    arguments = [json.dumps(archives.PUBLISHED_MD5), str(tmp_path / "data"), server.url]
    processes = [
        subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["40"] * 8
    assert server.asked == dict.fromkeys(NAMES, 1)


@pytest.mark.real_data
def test_the_real_archives_are_accepted_and_one_flipped_bit_is_not(tmp_path):
    source = os.environ[archives.MIRROR_VARIABLE]  # a folder here
    data = FashionMNISTData(root=str(tmp_path), mirrors=[])
    data.setup()
    assert {stage: tuple(images.shape) for stage, images in data.images.items()} == {
        "train": (48000, 28, 28),
        "val": (12000, 28, 28),
        "test": (10000, 28, 28),
    }
    assert data.labels["train"].bincount().tolist() == [4800] * 10
    assert data.labels["val"].bincount().tolist() == [1200] * 10
    assert data.labels["test"].bincount().tolist() == [1000] * 10
    assert data.mean == pytest.approx(0.2860, abs=5e-4)  # as published widely for the 60,000
    assert data.std == pytest.approx(0.3530, abs=5e-4)
    broken = tmp_path / "broken"
    shutil.copytree(tmp_path / "FashionMNIST" / "raw", broken, copy_function=shutil.copyfile)
    path = broken / NAMES[2]
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    again = archives.load(broken, [])
    assert torch.equal(again[2], data.images["test"])
    assert (broken / "FashionMNIST" / "raw" / NAMES[2]).read_bytes() == (Path(source) / NAMES[2]).read_bytes()
