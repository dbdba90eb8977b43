"""How a run stops early: at a signal, or because its loss diverged."""

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
DIVERGED = 1e6  # nats of cross-entropy, from which training does not recover; chance level is 2.30


class StopOnSignal(Callback):
    """Stops a run at SIGINT, SIGTERM or SIGUSR1.

    The handler sets a flag: training checks it after each batch, and stops there with a checkpoint from which the run
    resumes; the steps after training check it in between. So no exception is raised within compiled code or where a
    library would swallow it. The handler raises only while a run is prepared, since a download may take minutes.

    A second Ctrl-C terminates the process at once. A second SIGTERM or SIGUSR1 changes nothing: schedulers send
    several, and the first one is being handled.

    A context manager: on exit the previous handlers are restored.
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
        """Whether training was stopped by Ctrl-C, after which the run is scored and reported; clears the flag."""
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


class StopOnDivergence(Callback):
    """Stops the run in the epoch whose training or validation loss diverged, before a checkpoint is chosen by it.

    Checked once an epoch and not at each step: reading a loss from a GPU waits for it.
    """

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects the step's loss; checks all of them at the end of the epoch."""
        self.losses.append(outputs["loss"].detach())
        if not (trainer.is_last_batch or trainer.should_stop):
            return
        losses = (torch.stack(self.losses) * trainer.accumulate_grad_batches).tolist()
        self.losses = []
        first = next((i for i, loss in enumerate(losses) if not loss < DIVERGED), None)
        if trainer.strategy.reduce_boolean_decision(first is not None, all=False):
            where = "the loss diverged in another process"
            if first is not None:
                window = trainer.accumulate_grad_batches
                steps_per_epoch = -(-int(trainer.num_training_batches) // window)
                step = trainer.current_epoch * steps_per_epoch + (batch_idx + 1 - len(losses) + first) // window + 1
                where = f"the loss is {losses[first]:g} at step {step}, in epoch {trainer.current_epoch + 1}"
            raise FloatingPointError(_advice(trainer, where))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks the validation loss: the last step of the epoch may have made the weights non-finite."""
        loss = trainer.callback_metrics["val/loss"].item()
        if not loss < DIVERGED and not trainer.sanity_checking:
            after = f"the validation loss is {loss:g} after step {trainer.global_step}, in epoch"
            raise FloatingPointError(_advice(trainer, f"{after} {trainer.current_epoch + 1}"))


def _advice(trainer: pl.Trainer, what: str) -> str:
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    clip = "" if trainer.gradient_clip_val else ", or set trainer.gradient_clip_val=1.0"
    return f"optimizer.lr={lr:g}: {what} (chance level is 2.30); lower optimizer.lr{clip}"
