"""How the benchmark times: each reading of the clock waits until the device has finished."""

import platform
import time
from collections.abc import Callable
from itertools import pairwise

import lightning.pytorch as pl
import torch


def now() -> float:
    """Seconds of a monotonic clock, once the device has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(work: Callable[[], None]) -> float:
    """Seconds that the second of two calls takes; the first one is the warm-up."""
    work()
    start = now()
    work()
    return now() - start


class EpochTimer(pl.Callback):
    """Times epochs from the start of one to the start of the next: validation, logging and checkpoints included."""

    def __init__(self) -> None:
        self._starts: list[float] = []

    def start_epoch(self) -> None:
        """Ends the epoch before, if there is one, and starts the next."""
        self._starts.append(now())

    end = start_epoch

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning."""
        self.start_epoch()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning."""
        self.end()

    @property
    def seconds(self) -> list[float]:
        """Of each epoch."""
        return [end - start for start, end in pairwise(self._starts)]


def peak_mb() -> float:
    """Peak memory of this process."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)
