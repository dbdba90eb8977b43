"""A trial of a hyperparameter search: reported after each epoch, stopped early if hopeless, never tested."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.callbacks import best_checkpoint
from fmnist_lightning.training.prepare import PreparedRun


class SearchTrial(Callback):
    """Reports a metric after each epoch, and stops training if the answer is that the trial is hopeless.

    Args:
        monitor: the metric, val/loss or val/accuracy.
        report: is called with the epoch, counted from 1, and the value that metrics.csv has; returns whether to stop.
    """

    def __init__(self, monitor: str, report: Callable[[int, float], bool]) -> None:
        self.monitor, self.report = monitor, report
        self.pruned = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        is_hopeless = self.report(epoch, trainer.callback_metrics[self.monitor].item())
        is_last = trainer.should_stop or epoch == trainer.max_epochs
        if is_hopeless and not is_last:
            self.pruned = trainer.should_stop = True


def validation_entries(run: Run, prepared: PreparedRun) -> dict[str, Any]:
    """The entries of a summary about the best epoch, from metrics.csv; empty without a completed epoch."""
    rows, best = run.read_metrics(), best_checkpoint(prepared.trainer)
    if not rows or best is None:
        return {}
    metric = str(best.monitor)
    row = (min if best.mode == "min" else max)(rows, key=lambda row: row[metric])  # the first of equal ones
    return {
        "best_epoch": int(row["epoch"]),
        "monitored": {"metric": metric, "mode": best.mode, "value": row[metric]},
        "val": {"loss": row["val/loss"], "accuracy": row["val/accuracy"]},
    }
