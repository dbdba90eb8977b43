"""What is recorded after each epoch: a row of metrics.csv, the same row in every logger."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.training.loggers import first_epoch


def epoch_means(trainer: pl.Trainer, model: pl.LightningModule) -> dict[str, float]:
    """Losses and accuracies of the epoch that ends, means over all processes; must be called on each of them.

    The training means are taken from the module: Lightning calls a callback's `on_train_epoch_end` before the
    module's, which logs them.
    """
    assert isinstance(model, Classifier)
    return {
        **{f"train/{name}": metric.compute().item() for name, metric in model.stage_metrics("train").items()},
        "val/loss": trainer.callback_metrics["val/loss"].item(),
        "val/accuracy": trainer.callback_metrics["val/accuracy"].item(),
    }


class EpochMetrics(Callback):
    """Writes a row per epoch, counted from 1, to metrics.csv and to every logger.

    The rows are part of each checkpoint: a resumed run appends to them.

    Args:
        histograms: whether TensorBoard also receives a histogram of each weight tensor per epoch.
    """

    def __init__(self, histograms: bool = False) -> None:
        self.histograms = histograms
        self.gradient_norm: Tensor | None = None  # of the epoch's last step
        self.rows: list[dict[str, float]] = []
        self.gradient_norms: list[float | None] = []  # one for each row
        self.first_epochs: list[int] = []  # the first epoch that each logger has not received yet
        self.lr = 0.0  # at the epoch's first step

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the rows of the checkpoint to metrics.csv, and to each logger those that it has not received."""
        if trainer.is_global_zero:
            Run(trainer.default_root_dir).write_metrics(self.rows)
        run = Run(trainer.default_root_dir)
        self.first_epochs = [first_epoch(logger, len(self.rows), run) for logger in self._loggers(trainer)]
        for row, gradient_norm in zip(self.rows, self.gradient_norms, strict=True):
            self._log(trainer, row, gradient_norm)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Computes the gradient norm once per epoch: it reads every gradient."""
        if trainer.is_last_batch:
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self.gradient_norm = torch.nn.utils.get_total_norm(gradients)
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
                self.gradient_norm /= scaler.get_scale()  # such an optimizer unscales the gradients itself, later

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = epoch_means(trainer, pl_module)
        epoch = trainer.current_epoch + 1
        self.rows.append({"epoch": epoch, "step": trainer.global_step, **metrics, "lr": self.lr})
        if trainer.is_global_zero:  # without flushing: a resumed run writes the rows of its checkpoint again
            Run(trainer.default_root_dir).write_metrics(self.rows, flush=False)
        self.gradient_norms.append(None if self.gradient_norm is None else self.gradient_norm.item())
        self.gradient_norm = None
        self._log(trainer, self.rows[-1], self.gradient_norms[-1])
        for logger in trainer.loggers:
            if self.histograms and isinstance(logger, TensorBoardLogger):
                for name, weights in pl_module.named_parameters():
                    if weights.isfinite().all():  # torch raises an error for a histogram without finite values
                        logger.experiment.add_histogram(f"weights/{name}", weights, epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Flushes metrics.csv to disk: a completed run is not resumed."""
        if trainer.is_global_zero:
            Run(trainer.default_root_dir).write_metrics(self.rows)

    def _loggers(self, trainer: pl.Trainer) -> list[Logger]:
        return trainer.loggers if trainer.is_global_zero else []

    def _log(self, trainer: pl.Trainer, row: dict[str, float], gradient_norm: float | None) -> None:
        values = {name: value for name, value in row.items() if "/" in name} | {"train/lr": row["lr"]}
        more = {} if gradient_norm is None else {"train/gradient_norm": gradient_norm}
        for logger, first in zip(self._loggers(trainer), self.first_epochs, strict=True):
            if row["epoch"] >= first:
                logger.log_metrics(values | more, step=int(row["epoch"]))

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the learning rate of the current epoch."""
        return {"rows": self.rows, "gradient_norms": self.gradient_norms, "lr": self.lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self.gradient_norms = state_dict["rows"], state_dict["gradient_norms"]
        self.lr = state_dict["lr"]


def best_checkpoint(trainer: pl.Trainer) -> ModelCheckpoint | None:
    """The callback that writes best.ckpt."""
    found = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
    return next((callback for callback in found if callback.filename == "best"), None)


class TrimHeap(Callback):
    """Returns freed memory to the system after each epoch: it is fragmented, and the next epoch would add to it."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trim_heap()
