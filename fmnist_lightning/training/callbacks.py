"""What this project adds to Lightning's callbacks: a row of numbers an epoch, a line of them on screen."""

import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
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
from torch import Tensor
from torch.optim import Optimizer

from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.batch_counts import batches_before_training, completed_batches, total_batches
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.training.loggers import first_epoch


def epoch_means(trainer: pl.Trainer, model: pl.LightningModule) -> dict[str, float]:
    """Losses and accuracies of the epoch that ends; called on every process, for the means go over all of them.

    Lightning calls a callback's `on_train_epoch_end` before the module's, which logs the training means: they are
    taken from the module.
    """
    assert isinstance(model, Classifier)
    return {
        **{f"train/{name}": metric.compute().item() for name, metric in model.epoch_means("train").items()},
        "val/loss": trainer.callback_metrics["val/loss"].item(),
        "val/accuracy": trainer.callback_metrics["val/accuracy"].item(),
    }


class EpochMetrics(Callback):
    """Writes metrics.csv, a row per epoch counted from 1, and the same row to every logger at that epoch.

    The rows are part of each checkpoint: a resumed run continues with them.

    Args:
        histograms: whether TensorBoard also gets a histogram of each weight tensor, epoch by epoch.
    """

    def __init__(self, histograms: bool = False) -> None:
        self.histograms = histograms
        self.gradient_norm: Tensor | None = None  # of the epoch's last step
        self.rows: list[dict[str, float]] = []
        self.gradient_norms: list[float | None] = []  # one for each row
        self.first_epochs: list[int] = []  # for each logger, the first epoch that it has not got yet
        self.lr = 0.0  # at the epoch's first step

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the rows of the checkpoint; each logger receives those that it has not got."""
        if trainer.is_global_zero:
            Run(trainer.default_root_dir).write_metrics(self.rows)
        run = Run(trainer.default_root_dir)
        self.first_epochs = [first_epoch(logger, len(self.rows), run) for logger in self._loggers(trainer)]
        for row, gradient_norm in zip(self.rows, self.gradient_norms, strict=True):
            self._log(trainer, row, gradient_norm)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the learning rate that the epoch starts with."""
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Takes the gradient's norm, once an epoch: it reads every gradient."""
        if trainer.is_last_batch:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.gradient_norm = torch.nn.utils.get_total_norm(gradients)
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
                self.gradient_norm /= scaler.get_scale()  # such an optimizer itself takes the scale out, later

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the row."""
        metrics = epoch_means(trainer, pl_module)
        epoch = trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "step": trainer.global_step, **metrics, "lr": self.lr})
        if trainer.is_global_zero:
            Run(trainer.default_root_dir).write_metrics(self.rows)
        self.gradient_norms.append(None if self.gradient_norm is None else self.gradient_norm.item())
        self.gradient_norm = None
        self._log(trainer, self.rows[-1], self.gradient_norms[-1])
        for logger in trainer.loggers:
            if self.histograms and isinstance(logger, TensorBoardLogger):
                for name, weights in pl_module.named_parameters():
                    if weights.isfinite().all():  # else torch finds nothing to count, and fails
                        logger.experiment.add_histogram(name, weights, epoch)

    def _loggers(self, trainer: pl.Trainer) -> list[Logger]:
        return trainer.loggers if trainer.is_global_zero else []

    def _log(self, trainer: pl.Trainer, row: dict[str, float], gradient_norm: float | None) -> None:
        values = {name: value for name, value in row.items() if name not in ("epoch", "step")}
        more = {} if gradient_norm is None else {"gradient_norm": gradient_norm}
        for logger, first in zip(self._loggers(trainer), self.first_epochs, strict=True):
            if row["epoch"] >= first:
                logger.log_metrics(values | more, step=int(row["epoch"]))

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the learning rate of the epoch at hand."""
        return {"rows": self.rows, "gradient_norms": self.gradient_norms, "lr": self.lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the rows of a checkpoint."""
        self.rows, self.gradient_norms = state_dict["rows"], state_dict["gradient_norms"]
        self.lr = state_dict["lr"]


def best_checkpoint(trainer: pl.Trainer) -> ModelCheckpoint | None:
    """The callback that writes best.ckpt, and so chooses the epoch that is tested."""
    found = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    return next((callback for callback in found if callback.filename == "best"), None)


class EpochProgress(Callback):
    """One bar over all batches of the run with the time left, and above it a line for each finished epoch."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.started = time.monotonic()
        self.best: float | None = None  # value of the metric that best.ckpt monitors

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the bar, on the first process alone."""
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
        """Starts the clock of the epoch."""
        self.started = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar, ten batches at a time."""
        if self.bar is not None and not self.bar.disable and batch_idx % 10 == 9:
            self.bar.update(self.task, completed=completed_batches(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line, marked if it is the best so far by the metric that best.ckpt monitors."""
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
        chooses = best_checkpoint(trainer)
        value = None if chooses is None else means.get(str(chooses.monitor))  # None: a metric of the user's own
        if chooses is None or value is None:
            return False
        if self.best is None or (value < self.best if chooses.mode == "min" else value > self.best):
            self.best = value
            return True
        return False

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the bar away; the lines stay."""
        if self.bar is not None:
            self.bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Takes the bar away before the message is printed."""
        if self.bar is not None:
            self.bar.stop()


class TrimHeap(Callback):
    """Between epochs, hands back what steps and validation freed: it lies in pieces that the next ones add to."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hands it back."""
        trim_heap()
