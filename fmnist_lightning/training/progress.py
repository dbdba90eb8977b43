"""What is printed of training: a header, a progress bar on a terminal, a line for each epoch, why training ended."""

import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.models import Classifier
from fmnist_lightning.training.batch_counts import batches_before_training, completed_batches, total_batches
from fmnist_lightning.training.callbacks import EpochMetrics, best_checkpoint, epoch_means
from fmnist_lightning.training.header import header
from fmnist_lightning.training.stages import clear_stage, draws_on_terminal, in_sweep
from fmnist_lightning.training.stop_reason import interruption, stop_reason

TITLES = "  epoch  train loss  train accuracy   val loss  val accuracy    seconds"


class EpochProgress(Callback):
    """Prints the progress of a single run on rank zero; in the jobs of a sweep there is only the bar."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.started = time.monotonic()
        self.best: float | None = None  # value of the metric that best.ckpt monitors
        self.best_epoch: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the header and starts the bar."""
        if not trainer.is_global_zero:
            return
        clear_stage()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for row in callback.rows if isinstance(callback, EpochMetrics) else []:  # of a run that resumes
                self._is_best(trainer, row, int(row["epoch"]))
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=20),  # all columns: less than 80, with the ^C that a terminal echoes
            MofNCompleteColumn(),
            TextColumn("batches"),
            TimeElapsedColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(highlight=False),
            transient=True,
            refresh_per_second=4,
            disable=not draws_on_terminal(),  # also where FORCE_COLOR is set
        )
        self.task = self.bar.add_task("", total=total_batches(trainer), completed=batches_before_training(trainer))
        assert isinstance(pl_module, Classifier)
        self._print("\n".join(["", *header(trainer, pl_module), ""]))
        self._print(TITLES, "bold")
        self.bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advances the bar every ten batches."""
        if self.bar is not None and not self.bar.disable and batch_idx % 10 == 9:
            self.bar.update(self.task, completed=completed_batches(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line, marked if it is the best so far by the metric of best.ckpt."""
        means = epoch_means(trainer, pl_module)
        if self.bar is None:
            return
        self.bar.update(self.task, completed=completed_batches(trainer))
        epoch = trainer.current_epoch + 1
        limit = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        mark = "*" if self._is_best(trainer, means, epoch) else " "
        train_loss, train_accuracy, val_loss, val_accuracy = means.values()
        seconds = time.monotonic() - self.started
        self._print(
            f"{f'{epoch}{limit}':>7} {train_loss:>11.4f} {train_accuracy:>15.4f} "
            f"{val_loss:>10.4f} {val_accuracy:>13.4f} {mark} {seconds:>8.1f}"
        )

    def _is_best(self, trainer: pl.Trainer, means: Mapping[str, float], epoch: int) -> bool:
        checkpoint = best_checkpoint(trainer)
        value = None if checkpoint is None else means.get(str(checkpoint.monitor))  # None: a metric of the user
        if checkpoint is None or value is None:
            return False
        if self.best is None or (value < self.best if checkpoint.mode == "min" else value > self.best):
            self.best, self.best_epoch = value, epoch
            return True
        return False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the bar and prints why training ended."""
        self._end(stop_reason(trainer))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes the bar before the message is printed."""
        self._end(interruption(trainer, exception) if isinstance(exception, Interrupted) else None)

    def _end(self, reason: str | None) -> None:
        if self.bar is None:
            return
        self.bar.stop()
        if reason:
            self._print(f"{reason}; best epoch: {self.best_epoch}" if self.best_epoch else reason)
        self.bar = None

    def _print(self, text: str, style: str = "") -> None:
        assert self.bar is not None
        if in_sweep():
            return
        if self.bar.disable:
            print(text, flush=True)
        else:  # above the bar; neither wrapped nor cropped
            self.bar.console.print(Text(text, style), soft_wrap=True)
