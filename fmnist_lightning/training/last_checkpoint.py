"""Writes last.ckpt, and finds the checkpoint from which a run resumes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from fmnist_lightning.runs.checkpoints import read_checkpoint
from fmnist_lightning.runs.files import is_intact
from fmnist_lightning.runs.run import Run

_PROCESS_STATE = {"generators", "epoch_totals", "loader", "seconds"}
# a run cannot resume without these; best.ckpt and last.ckpt both have them
_RESUMABLE: dict[str, Callable[[Any], bool]] = {
    "optimizer_states": lambda v: isinstance(v, list) and len(v) == 1 and isinstance(v[0], dict) and bool(v[0]),
    "lr_schedulers": lambda v: isinstance(v, list),
    "loops": lambda v: isinstance(v, dict) and "fit_loop" in v,
    "callbacks": lambda v: isinstance(v, dict) and all(isinstance(state, dict) for state in v.values()),
    "processes": lambda v: isinstance(v, list) and all(isinstance(p, dict) and set(p) >= _PROCESS_STATE for p in v),
}


def find_resumable_checkpoint(run: Run) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The checkpoint from which a run resumes, its content, and a warning for each damaged one.

    That is last.ckpt, or best.ckpt if last.ckpt is damaged. None if best.ckpt is damaged or missing: the run would not
    end with the result of an uninterrupted one.

    Raises:
        ValueError: the checkpoint cannot be resumed from.
    """
    damaged = [path for path in (run.best_checkpoint, run.last_checkpoint) if path.exists() and not is_intact(path)]
    warnings = [f"{path} is damaged (its SHA-256 differs)" for path in damaged]
    intact = [path for path in (run.last_checkpoint, run.best_checkpoint) if path.exists() and path not in damaged]
    if run.best_checkpoint in damaged or not intact:
        return None, {}, warnings
    path = intact[0]
    checkpoint = read_checkpoint(path)
    for name, is_valid in _RESUMABLE.items():
        if not is_valid(checkpoint.get(name)):
            raise ValueError(f"{path}: cannot resume from it, its {name} are not as they were written")
    if "normalize.mean" not in checkpoint["state_dict"]:
        raise ValueError(f"{path}: of version 0.1.0 or earlier; resume the run with that version, or only evaluate it")
    if epoch_rows(checkpoint) and not run.best_checkpoint.exists():
        return None, {}, [*warnings, f"{run.best_checkpoint} is missing"]
    return path, checkpoint, warnings


def epoch_rows(checkpoint: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of metrics.csv in a checkpoint: one for each completed epoch."""
    rows: list[dict[str, float]] = checkpoint["callbacks"].get("EpochMetrics", {}).get("rows", [])
    return rows


class LastCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt after each epoch, and every n optimizer steps within one.

    ModelCheckpoint(every_n_train_steps=n) also saves where an exact resume is impossible; see `is_resumable_here`.
    """

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        self.every_n_train_steps = every_n_train_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves within an epoch; `on_train_epoch_end` saves after its last step."""
        n = self.every_n_train_steps
        if n and not is_dev_run(trainer) and trainer.global_step % n == 0 and is_resumable_here(trainer, batch_idx):
            save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves. Lightning calls checkpoint callbacks last, in their order: best.ckpt has been written."""
        if not is_dev_run(trainer):
            save_last(trainer)


def is_dev_run(trainer: pl.Trainer) -> bool:
    """Whether trainer.fast_dev_run was set: such a run writes no checkpoint."""
    return bool(getattr(trainer, "fast_dev_run", False))


def is_resumable_here(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint after this batch is complete: no half-accumulated gradient, no validation due."""
    if trainer.is_last_batch or trainer.should_stop or (batch_idx + 1) % trainer.val_check_batch == 0:  # type: ignore[operator]
        return False
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def save_last(trainer: pl.Trainer) -> None:
    """Writes last.ckpt; called on every process."""
    trainer.save_checkpoint(Run(trainer.default_root_dir).last_checkpoint)
