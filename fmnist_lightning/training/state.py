"""What a checkpoint stores so that a run resumes exactly: when it is written, and from which one a run resumes.

A run that is killed at any instant resumes from the newest intact checkpoint, bit-for-bit identical to an
uninterrupted run. What Lightning leaves out of a checkpoint is added here, for each process: the state of every random
generator and the totals of an unfinished epoch.
"""

import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import read_checkpoint
from fmnist_lightning.runs.files import is_intact
from fmnist_lightning.runs.run import Run

_PATIENCE_REASONS = (EarlyStoppingReason.NOT_STOPPED, EarlyStoppingReason.PATIENCE_EXHAUSTED)
_PROCESS_STATE = {"generators", "epoch_totals", "loader", "seconds"}
# a run cannot resume without these; best.ckpt and last.ckpt both have them
_RESUMABLE: dict[str, Callable[[Any], bool]] = {
    "optimizer_states": lambda v: isinstance(v, list) and len(v) == 1 and isinstance(v[0], dict) and bool(v[0]),
    "lr_schedulers": lambda v: isinstance(v, list),
    "loops": lambda v: isinstance(v, dict) and "fit_loop" in v,
    "callbacks": lambda v: isinstance(v, dict) and all(isinstance(state, dict) for state in v.values()),
    "processes": lambda v: isinstance(v, list) and all(isinstance(p, dict) and set(p) >= _PROCESS_STATE for p in v),
}


def newest_checkpoint(run: Run) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The checkpoint from which a run resumes, its content, and a message for each damaged one.

    That is last.ckpt, or best.ckpt if last.ckpt is damaged. None if best.ckpt is damaged or missing: the run could
    resume, but not to the result of an uninterrupted run.

    Raises:
        ValueError: the checkpoint cannot be resumed from.
    """
    damaged = [path for path in (run.best_checkpoint, run.last_checkpoint) if path.exists() and not is_intact(path)]
    complaints = [f"{path} is damaged (its SHA-256 differs)" for path in damaged]
    good = [path for path in (run.last_checkpoint, run.best_checkpoint) if path.exists() and path not in damaged]
    if run.best_checkpoint in damaged or not good:
        return None, {}, complaints
    checkpoint = read_checkpoint(good[0])
    for name, is_valid in _RESUMABLE.items():
        if not is_valid(checkpoint.get(name)):
            raise ValueError(f"{good[0]}: cannot resume from it, its {name} are not as they were written")
    if "normalize.mean" not in checkpoint["state_dict"]:
        raise ValueError(
            f"{good[0]}: of version 0.1.0 or earlier; resume the run with that version, or only evaluate it"
        )
    if rows_of(checkpoint) and not run.best_checkpoint.exists():
        return None, {}, [*complaints, f"{run.best_checkpoint} is missing"]
    return good[0], checkpoint, complaints


def rows_of(checkpoint: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of metrics.csv in a checkpoint: one for each completed epoch."""
    rows: list[dict[str, float]] = checkpoint["callbacks"].get("EpochMetrics", {}).get("rows", [])
    return rows


class LastCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt after each epoch, and optionally within one.

    Args:
        every_n_train_steps: optimizer steps between checkpoints within an epoch; None for none.
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


class TrainingState(Callback):
    """Stores the state of each process in every checkpoint, and restores it.

    Args:
        resumed: whether training resumes from a checkpoint.
    """

    def __init__(self, resumed: bool = False) -> None:
        self.resumed = resumed
        self.local: dict[str, Any] = {}
        self.started = time.monotonic()
        self.patience: dict[EarlyStopping, int] = {}
        self.restored = False  # whether all of the checkpoint has been restored

    @property
    def seconds(self) -> float:
        """Of training so far, including those before the checkpoint."""
        return float(self.local.get("seconds", 0.0)) + time.monotonic() - self.started

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state of all processes."""
        assert isinstance(pl_module, Classifier)
        assert trainer.train_dataloader is not None
        local = {
            "generators": rng_states(),
            "epoch_totals": pl_module.totals["train"].state_dict(),
            "loader": trainer.train_dataloader.state_dict(),
            "seconds": self.seconds,
        }
        states: list[Any] = [local]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, local)
        checkpoint["processes"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps this process's state until training starts: what comes before draws random numbers."""
        processes = checkpoint["processes"]
        if len(processes) != trainer.world_size:
            raise ValueError(
                f"trainer.devices: {trainer.world_size} processes, where the run had {len(processes)}; it must "
                "resume with the same world size"
            )
        self.local = processes[trainer.global_rank]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stores the configured patience, which the checkpoint's overwrites."""
        self.patience = {stopper: stopper.patience for stopper in trainer.early_stopping_callbacks}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops if early stopping had stopped the run, unless patience was raised; Lightning does not restore this."""
        self.started = time.monotonic()
        for stopper, patience in self.patience.items():
            other_reason = stopper.stopping_reason not in _PATIENCE_REASONS
            stopper.patience = patience
            if other_reason or stopper.wait_count >= patience:
                trainer.should_stop = True
            else:
                stopper.stopped_epoch, stopper.stopping_reason = 0, EarlyStoppingReason.NOT_STOPPED

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores random generators and, within an epoch, totals and position."""
        assert isinstance(pl_module, Classifier)
        if self.resumed:
            set_rng_states(self.local["generators"])
            if trainer.fit_loop.restarted_mid_epoch:
                pl_module.totals["train"].load_state_dict(self.local["epoch_totals"], pl_module.device)
                # Lightning does this too, except if a scheduler has asked for the number of steps before
                assert trainer.train_dataloader is not None
                trainer.train_dataloader.load_state_dict(self.local["loader"])
            else:
                # each epoch restarts the loader, which draws a random number; Lightning would skip that here
                trainer.fit_loop._resuming_from_checkpoint = False
        self.restored = True


def rng_states() -> dict[str, Any]:
    """The state of every random generator of this process, as tensors and plain values."""
    numpy: Any = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_states(states: Mapping[str, Any]) -> None:
    """Restores every random generator to a state that `rng_states` returned."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
