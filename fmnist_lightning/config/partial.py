"""Which overrides limit training or validation to a part of the data."""

from collections.abc import Mapping
from typing import Any

from fmnist_lightning.config.constraints import to_override


def partial_overrides(trainer: Mapping[str, Any], num_batches: Mapping[str, int]) -> str | None:
    """The overrides whose scores are not comparable with those of a full run; None for a full run.

    Args:
        trainer: cfg.trainer.
        num_batches: of an epoch, by stage: train, val.
    """

    def is_limit(key: str, value: Any) -> bool:
        if key in ("limit_train_batches", "limit_val_batches"):
            whole = num_batches[key.split("_")[1]]
            return bool(value < 1.0 if isinstance(value, float) else value is not None and value < whole)
        unlimited: tuple[Any, ...] = {"max_steps": (-1,), "max_time": (None,)}.get(key, (False, 0))
        return key in ("overfit_batches", "fast_dev_run", "max_steps", "max_time") and value not in unlimited

    limits = [f"trainer.{key}={to_override(value)}" for key, value in trainer.items() if is_limit(key, value)]
    return ", ".join(limits) or None
