"""What the tests of the search share: the command as a process, and a PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

INITDB = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tiny_overrides: list[str], tmp_path: Path) -> Start:
    """Starts a search of the ANN on tiny synthetic images."""
    clean = {key: value for key, value in os.environ.items() if key not in ("FASHION_MNIST_MIRROR", "HYDRA_FULL_ERROR")}

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_lightning.search", "model=ann", *tiny_overrides, *arguments],
            cwd=tmp_path,
            env=clean | {"COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database of a server on a free port, which is stopped afterwards."""
    if INITDB is None:
        pytest.skip("no PostgreSQL (Debian: postgresql)")
    folder = Path("/tmp") / f"postgresql_{os.getpid()}"  # a socket's path has at most 107 characters
    folder.mkdir(mode=0o700)
    user = []
    if os.getuid() == 0:  # which the server rejects
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries = Path(INITDB).resolve().parent
    data = str(folder / "data")
    control = [*user, binaries / "pg_ctl", "-D", data]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    initialize = [*user, INITDB, "-D", data, "-U", "fmnist", "--auth=trust", "--no-sync"]
    try:
        subprocess.run(initialize, check=True, capture_output=True, cwd="/")
        command = [*control, "-l", folder / "log", "-w", "-t", "300", "-o", options, "start"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
        yield f"postgresql://fmnist@127.0.0.1:{port}/postgres"
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
    finally:
        shutil.rmtree(folder)
