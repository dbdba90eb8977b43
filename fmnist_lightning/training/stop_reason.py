"""Why training ended, in the terms of the options that ended it."""

import signal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, Timer
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from fmnist_lightning.config.errors import Interrupted


def stop_reason(trainer: pl.Trainer) -> str:
    """Why training ended without an exception; called when it ends."""
    epoch = trainer.current_epoch  # the last one
    if 0 <= trainer.max_steps <= trainer.global_step:
        return f"training ended in epoch {epoch}: trainer.max_steps={trainer.max_steps} reached"
    if epoch == trainer.max_epochs:
        return f"training ended: trainer.max_epochs={epoch} reached"
    stopped = [each for each in trainer.early_stopping_callbacks if each.stopping_reason.value]
    if stopped:
        return f"early stopping: {_early_stopping(stopped[0])}"
    remaining = [callback.time_remaining() for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    if any(seconds is not None and seconds <= 0 for seconds in remaining):
        return f"training ended in epoch {epoch}: trainer.max_time reached"
    return f"a callback stopped training after epoch {epoch}"


def interruption(trainer: pl.Trainer, exception: Interrupted) -> str:
    """Which signal stopped training, and where."""
    name = "Ctrl-C" if exception.number == signal.SIGINT else signal.Signals(exception.number).name
    return f"{name} stopped training in epoch {trainer.current_epoch + 1}"


def _early_stopping(callback: EarlyStopping) -> str:
    if callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED:
        return f"no better {callback.monitor} for {callback.wait_count} epochs"
    message = str(callback.stopping_reason_message or callback.stopping_reason.name)
    return message.partition(" Signaling")[0].rstrip(".")
