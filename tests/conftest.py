"""What the tests share: a tiny set of synthetic images, composed configurations, the command as a process, archives."""

import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:  # imported where it is used: the tests say that they start before torch is loaded
    from omegaconf import DictConfig
    from playwright.sync_api import Browser

    from fmnist_lightning.data import FashionMNISTData

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = "FASHION_MNIST_MIRROR"
if Path(os.environ.get(REAL_DATA, "")).is_dir() and os.environ.get(REAL_DATA):  # seen from the tests' folders too
    os.environ[REAL_DATA] = str(Path(os.environ[REAL_DATA]).absolute())
# several test processes share the cores; one thread each is faster, and the same sums in the same order
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["KERAS_HOME"] = "/nowhere"  # a developer's own Keras cache may hold the dataset

TINY = ["data=synthetic", "data.num_train=400", "data.num_test=100", "data.batch_size=64", "trainer.max_epochs=2"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    for item in items:
        if item.get_closest_marker("real_data") and not os.environ.get(REAL_DATA):
            item.add_marker(pytest.mark.skip(reason=f"{REAL_DATA} is not set"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA GPU"))
        if item.get_closest_marker("browser") and not shutil.which("chromium"):
            item.add_marker(pytest.mark.skip(reason="no chromium"))


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data.root that already holds the tiny synthetic images."""
    from fmnist_lightning.data import synthetic

    root = tmp_path_factory.mktemp("data")
    synthetic.load(root, num_train=400, num_test=100)
    return root


@pytest.fixture(scope="module")  # its event loop must not outlive the module
def browser() -> "Iterator[Browser]":
    """A headless Chromium, for tests marked browser."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser
        browser.close()


@pytest.fixture
def tiny(data_root: Path) -> "FashionMNISTData":
    """The tiny synthetic images, set up."""
    from fmnist_lightning.data import FashionMNISTData

    data = FashionMNISTData("synthetic", root=str(data_root), batch_size=64, num_train=400, num_test=100)
    data.setup()
    return data


@pytest.fixture(scope="module")
def composed(data_root: Path) -> "Iterator[Callable[..., DictConfig]]":
    """A function that composes a configuration on the tiny synthetic images from overrides."""
    from hydra import compose, initialize_config_dir

    from fmnist_lightning.config.compose import CONFIG_NAME
    from fmnist_lightning.config.config_files import CONF

    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        cpu_without_progress = ["trainer.accelerator=cpu", "~callbacks.progress"]
        yield lambda *overrides: compose(
            CONFIG_NAME, [*TINY, f"data.root={data_root}", *cpu_without_progress, *overrides]
        )


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(data_root: Path, tmp_path: Path) -> Command:
    """Runs `python -m MODULE ARGUMENTS` in an empty folder, on the tiny synthetic images unless told otherwise."""

    def run(
        *arguments: str, module: str = "fmnist_lightning", cwd: Path = tmp_path, **env: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if k not in (REAL_DATA, "HYDRA_FULL_ERROR")}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=clean | {"COLUMNS": "120"} | env,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture
def tiny_overrides(data_root: Path) -> list[str]:
    """What makes the command train the tiny synthetic images on a CPU."""
    return [*TINY, f"data.root={data_root}", "trainer.accelerator=cpu"]


def idx(array: np.ndarray) -> bytes:
    """The array as an idx file: magic number with type and rank, big-endian sizes, bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with four small archives in the real file format; their own MD5 sums stand in for the published ones."""
    from fmnist_lightning.data import archives

    folder = tmp_path / "mirror"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (40, 28, 28)),
        np.arange(40) % 10,
        rng.integers(0, 256, (20, 28, 28)),
        np.arange(20) % 10,
    ]
    for name, array in zip(archives.PUBLISHED_MD5, arrays, strict=True):
        (folder / name).write_bytes(gzip.compress(idx(array)))
    monkeypatch.delenv(archives.MIRROR_VARIABLE, raising=False)
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in archives.PUBLISHED_MD5}
    monkeypatch.setattr(archives, "PUBLISHED_MD5", sums)
    unpacked = {
        name.removesuffix(".gz"): hashlib.sha256(idx(array)).hexdigest()
        for name, array in zip(sums, arrays, strict=True)
    }
    monkeypatch.setattr(archives, "UNPACKED_SHA256", unpacked)
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
