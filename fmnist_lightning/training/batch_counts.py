"""Completed and total batches of a Trainer, for the progress bar."""

import lightning.pytorch as pl


def completed_batches(trainer: pl.Trainer) -> int:
    """Batches of all epochs so far, during training."""
    return trainer.current_epoch * int(trainer.num_training_batches) + trainer.fit_loop.batch_idx + 1


def batches_before_training(trainer: pl.Trainer) -> int:
    """Batches before training starts: 0, or those of the run that it resumes."""
    if trainer.fit_loop.restarted_mid_epoch:
        return completed_batches(trainer)
    return trainer.current_epoch * int(trainer.num_training_batches)


def total_batches(trainer: pl.Trainer) -> int | None:
    """The largest number of batches of the run; None if only max_time ends it."""
    totals = []
    if trainer.max_epochs not in (None, -1):
        totals.append(int(trainer.max_epochs * trainer.num_training_batches))
    if trainer.max_steps != -1:  # an incomplete accumulation window at the end of an epoch is a step too
        steps_per_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        epochs, steps = divmod(trainer.max_steps, steps_per_epoch)
        totals.append(epochs * int(trainer.num_training_batches) + steps * trainer.accumulate_grad_batches)
    return min(totals, default=None)
