"""What a terminal shows of training: a progress bar, and a line for each completed epoch."""

import time
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

from fmnist_lightning.training.batch_counts import batches_before_training, completed_batches, total_batches
from fmnist_lightning.training.callbacks import EpochMetrics, best_checkpoint, epoch_means


class EpochProgress(Callback):
    """A progress bar over all batches of the run with the remaining time, and a line for each completed epoch."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.started = time.monotonic()
        self.best: float | None = None  # value of the metric that best.ckpt monitors

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the bar on rank zero."""
        if not trainer.is_global_zero:
            return
        console = Console(highlight=False)
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches"),
            TimeElapsedColumn(),
            TextColumn("at most"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("", total=total_batches(trainer), completed=batches_before_training(trainer))
        rows = [row for callback in trainer.callbacks if isinstance(callback, EpochMetrics) for row in callback.rows]  # type: ignore[attr-defined]
        for row in rows:
            self._is_best(trainer, row)
        self.bar.start()
        self.bar.console.print("[bold]  epoch   train loss  accuracy    val loss  accuracy    seconds[/bold]")

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
        train_loss, train_accuracy, val_loss, val_accuracy = means.values()
        if self.bar is None:
            return
        self.bar.update(self.task, completed=completed_batches(trainer))
        mark = "[green]*[/green]" if self._is_best(trainer, means) else " "
        self.bar.console.print(
            f"{trainer.current_epoch + 1:>4}/{trainer.max_epochs:<2} {train_loss:>12.4f} {train_accuracy:>9.4f}"
            f" {val_loss:>11.4f} {val_accuracy:>9.4f} {mark} {time.monotonic() - self.started:>8.1f}"
        )

    def _is_best(self, trainer: pl.Trainer, means: dict[str, float]) -> bool:
        checkpoint = best_checkpoint(trainer)
        value = None if checkpoint is None else means.get(str(checkpoint.monitor))  # None: a metric of the user
        if checkpoint is None or value is None:
            return False
        if self.best is None or (value < self.best if checkpoint.mode == "min" else value > self.best):
            self.best = value
            return True
        return False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Removes the bar; the lines stay."""
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes the bar before the message is printed."""
        if self.bar is not None:
            self.bar.stop()
