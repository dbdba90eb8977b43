"""Serves the demo page, and keeps uploads in a directory of its own."""

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


def run_server(app: Any, listener: socket.socket) -> None:
    """Serves an ASGI application until a signal ends this process."""
    import uvicorn

    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    uvicorn.Server(config).run(sockets=[listener])
