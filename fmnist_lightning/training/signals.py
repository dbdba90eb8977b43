"""Stops a run at a signal."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn, Self

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.config.errors import EXIT_SIGINT, Interrupted
from fmnist_lightning.training.last_checkpoint import is_resumable_here, save_last

# Slurm sends the last one before the time limit, where a job asks for it: #SBATCH --signal=USR1@60
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
SIGNAL_GRACE_SECONDS = 8  # for a validation to finish after a signal; clusters kill after 30 s, some after 10 s


class StopOnSignal(Callback):
    """Stops a run at SIGINT, SIGTERM or SIGUSR1; a context manager that restores the previous handlers.

    The handler sets a flag, which is checked after each batch, where the run stops with a checkpoint, and between the
    steps after training: an exception could be raised within compiled code, or be swallowed by a library. The handler
    raises only while a run is prepared, since a download may take minutes.

    A second Ctrl-C terminates the process at once; a second SIGTERM or SIGUSR1, which schedulers send, is ignored.
    """

    def __init__(self) -> None:
        self.stop_signal = 0  # received by this process, or by another one of the run
        self._received_at: float | None = None  # monotonic time of this process's first signal
        self._deferred = True
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._previous = {number: signal.getsignal(number) for number in SIGNALS}
        self._install()
        return self

    def __exit__(self, *error: object) -> None:
        if _in_main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _install(self) -> None:
        if _in_main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._received_at is not None:
            _terminate()
        self._received_at = self._received_at or time.monotonic()
        self.stop_signal = number
        if not self._deferred:
            raise Interrupted(number)

    def raise_at_once(self) -> None:
        """From here on the handler raises; raises if a signal arrived before."""
        self._deferred = False
        self.raise_if_signalled()

    def defer(self) -> None:
        """From here on signals only set the flag; raises if one arrived before and its exception was swallowed."""
        self._deferred = True
        self.raise_if_signalled()

    def raise_if_signalled(self) -> None:
        """Raises `Interrupted` if a signal arrived."""
        if self.stop_signal:
            raise Interrupted(self.stop_signal)

    def acknowledge_ctrl_c(self) -> bool:
        """Whether Ctrl-C stopped training; clears the flag, as the run is then scored and reported."""
        ctrl_c = self.stop_signal == signal.SIGINT
        if ctrl_c:
            self.stop_signal = 0
        return ctrl_c

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replaces Lightning's handlers, which stop at SIGTERM without a checkpoint and with exit status 0."""
        self._install()
        self.defer()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops here: the checkpoint was written at the end of the epoch before."""
        if self._stop_requested(trainer):
            self.raise_if_signalled()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops here with a checkpoint, unless the epoch is about to end with one anyway."""
        if self._stop_requested(trainer) and is_resumable_here(trainer, batch_idx):
            save_last(trainer)
            self.raise_if_signalled()

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Stops a long validation: the run resumes from the checkpoint before it."""
        late = self._received_at is not None and time.monotonic() - self._received_at > SIGNAL_GRACE_SECONDS
        if late and trainer.world_size == 1:
            self.raise_if_signalled()

    def _stop_requested(self, trainer: pl.Trainer) -> bool:
        """Whether a signal arrived in any process: all of them stop after the same batch."""
        stop_signal = self.stop_signal
        if trainer.world_size > 1:
            local = torch.tensor(stop_signal, device=trainer.strategy.root_device)
            stop_signal = int(trainer.strategy.reduce(local, reduce_op="max"))
            self.stop_signal = self.stop_signal or stop_signal  # one may have arrived since: for the next batch
        return stop_signal > 0


def _in_main_thread() -> bool:
    """Only there may Python set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def _terminate() -> NoReturn:
    if os.isatty(1):
        os.write(1, b"\x1b[?25h\n")  # the progress bar hid the cursor
    os._exit(EXIT_SIGINT)
