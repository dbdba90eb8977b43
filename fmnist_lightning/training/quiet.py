"""Hides messages and warnings of Lightning that do not apply here."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

IGNORED_WARNINGS = (
    ".*does not have many workers",  # workers are slower than one gather per batch
    ".*is smaller than the logging interval",  # nothing is logged per step
    "(Checkpoint|Experiment logs) directory .* exists and is not empty",  # a resumed run
    "GPU available but not used",  # accelerator=cpu is explicit
    ".*isinstance.treespec, LeafSpec.",  # Lightning 2.6 uses a form that torch 2.11 deprecated
)
log = logging.getLogger(__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides IGNORED_WARNINGS, Lightning's messages about devices and its tips, and tracebacks of threads.

    For all of a run: a thread of TensorBoard may fail at any time.
    """
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    excepthook = threading.excepthook
    # an error in TensorBoard's thread is raised by its next write, and reported there
    threading.excepthook = lambda failed: log.info("a thread failed", exc_info=failed.exc_value)
    try:
        with warnings.catch_warnings():
            for message in IGNORED_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        threading.excepthook = excepthook
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
