"""Numbers that describe the loss curves of a run: speed, fluctuation, rises."""

from itertools import pairwise

import numpy as np

from fmnist_lightning.study.records import Record

FIRST_STABLE_EPOCH = 5  # the first epoch after the initial, steep decrease: fluctuation counts from there


def epochs_to(record: Record, loss: float) -> float:
    """Epochs until the validation loss is at most `loss`, interpolated linearly.

    1 if the first epoch reaches it, all epochs of the run if none does.
    """
    losses = [row["val/loss"] for row in record.epochs]
    reached = next((i for i, value in enumerate(losses) if value <= loss), None)
    if reached is None:
        return float(len(losses))
    if reached == 0:
        return 1.0
    before, after = losses[reached - 1 : reached + 1]
    return reached + (before - loss) / (before - after)


def fluctuation(record: Record) -> float | None:
    """Standard deviation of the validation loss's changes between consecutive epochs, after the initial decrease.

    A constant slope has no fluctuation; None if there are fewer than three changes, or none is different.
    """
    changes = np.diff([row["val/loss"] for row in record.epochs[FIRST_STABLE_EPOCH - 1 :]])
    return float(changes.std(ddof=1)) or None if len(changes) > 2 else None


def largest_rise(losses: list[float]) -> float:
    """The largest increase between consecutive losses, as a share of their whole decrease; the last is the lowest."""
    return max(0.0, *(after - before for before, after in pairwise(losses))) / (losses[0] - losses[-1])
