"""Stops a run whose loss diverged."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

DIVERGED = 1e6  # nats of cross-entropy, from which training does not recover; chance level is 2.30


class StopOnDivergence(Callback):
    """Stops the run in the epoch whose training or validation loss diverged, before best.ckpt is chosen by it.

    EarlyStopping(check_finite, divergence_threshold) ends such a run as if it were completed, and names no step.
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
