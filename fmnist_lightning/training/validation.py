"""Validates a run after the last step of each epoch, whatever the arguments of the Trainer are."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback


class ValidateEveryEpoch(Callback):
    """Ends each epoch with a validation, which metrics.csv, early stopping and the best checkpoint need.

    Lightning has none if `val_check_interval` does not divide the epoch, or if `max_steps` ends it.
    """

    def __init__(self) -> None:
        self.validated_step = -1
        self.val_check_batch: int | float | None = None  # batches between validations, of the Trainer

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Rejects an argument under which an epoch has no validation."""
        if trainer.check_val_every_n_epoch != 1:
            raise ValueError(
                f"trainer.check_val_every_n_epoch={trainer.check_val_every_n_epoch}: must be 1; early stopping, the "
                "best checkpoint and metrics.csv need a validation after every epoch"
            )
        self.val_check_batch = trainer.val_check_batch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Requests a validation after the last batch of the epoch."""
        if trainer.is_last_batch:
            trainer.val_check_batch = batch_idx + 1
        if 0 <= trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated_step = trainer.global_step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the interval; rejects an epoch whose last weights were not validated."""
        trainer.val_check_batch = self.val_check_batch
        if self.validated_step != trainer.global_step:
            raise ValueError("trainer: the epoch ended without a validation; remove the argument that prevents it")
