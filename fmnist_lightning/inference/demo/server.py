"""Serves the demo page, and keeps uploads in a directory of its own. Imports no torch: the port is taken first."""

import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fmnist_lightning.config.errors import EXIT_SIGTERM

SHUTDOWN_SECONDS = 1  # after which the connections of open pages are closed


@contextmanager
def upload_directory() -> Iterator[Path]:
    """A directory of Gradio's that only this user can read, deleted at the end; Gradio must be imported within.

    Also turns off its telemetry.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_SIGTERM))  # deletes the directory, too
    with tempfile.TemporaryDirectory(prefix="fmnist_demo_") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
        yield Path(folder)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; ValueError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"port={port}: in use by another program; choose another, or port=0 for any free one"
            ) from None
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            allowed = "127.0.0.1 is reachable from this machine alone, 0.0.0.0 from others"
            raise ValueError(f"host={host}: not an address of this machine; {allowed}") from None
        raise ValueError(f"port={port}: {error.strerror}; ports from 1024 are free for every user") from None


def address_of(listener: socket.socket) -> str:
    """The address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(app: Any, listener: socket.socket) -> None:
    """Serves an ASGI application until a signal ends this process."""
    import uvicorn

    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    uvicorn.Server(config).run(sockets=[listener])
