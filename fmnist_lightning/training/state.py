"""What a checkpoint holds so that a run goes on: when it is written, and which one is taken.

A run that is killed at any instant goes on from the newest whole checkpoint and reaches the bits that it would have
reached undisturbed. What Lightning leaves out of a checkpoint is added here: the state of every random generator and
the sums of an unfinished epoch, of each process.
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
_PROCESS = {"generators", "sums", "loader", "seconds"}
# without these a run cannot go on; best.ckpt and last.ckpt have them both
_RESUMABLE: dict[str, Callable[[Any], bool]] = {
    "optimizer_states": lambda v: isinstance(v, list) and len(v) == 1 and isinstance(v[0], dict) and bool(v[0]),
    "lr_schedulers": lambda v: isinstance(v, list),
    "loops": lambda v: isinstance(v, dict) and "fit_loop" in v,
    "callbacks": lambda v: isinstance(v, dict) and all(isinstance(state, dict) for state in v.values()),
    "processes": lambda v: isinstance(v, list) and all(isinstance(p, dict) and set(p) >= _PROCESS for p in v),
}


def newest_checkpoint(run: Run) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The checkpoint that a run goes on from, its content, and what is wrong with those that it cannot go on from.

    The newest one, or where it is damaged the best one, which is older and whole in the same sense. None where the
    best one is damaged or gone: the run could go on, but not to the result that it would have had.
    """
    damaged = [path for path in (run.best_checkpoint, run.last_checkpoint) if path.exists() and not is_intact(path)]
    complaints = [f"{path} is damaged (its SHA-256 is another one)" for path in damaged]
    good = [path for path in (run.last_checkpoint, run.best_checkpoint) if path.exists() and path not in damaged]
    if run.best_checkpoint in damaged or not good:
        return None, {}, complaints
    checkpoint = read_checkpoint(good[0])
    for name, holds in _RESUMABLE.items():
        if not holds(checkpoint.get(name)):
            raise ValueError(f"{good[0]}: a run cannot go on from it, for its {name} are not as they were written")
    if rows_of(checkpoint) and not run.best_checkpoint.exists():
        return None, {}, [*complaints, f"{run.best_checkpoint} is gone"]
    return good[0], checkpoint, complaints


def rows_of(checkpoint: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of metrics.csv that a checkpoint has: one for each epoch that was finished."""
    rows: list[dict[str, float]] = checkpoint["callbacks"].get("EpochMetrics", {}).get("rows", [])
    return rows


class NewestCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt after each epoch and, where wanted, within one.

    Args:
        every_n_train_steps: optimizer steps from one checkpoint within an epoch to the next; None for none.
    """

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        self.every_n_train_steps = every_n_train_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves within an epoch; its last step is left to the end of the epoch."""
        n = self.every_n_train_steps
        if n and not is_dev_run(trainer) and trainer.global_step % n == 0 and can_go_on_from_here(trainer, batch_idx):
            save_newest(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves. Lightning calls checkpoints last, in their order: the best one has been written."""
        if not is_dev_run(trainer):
            save_newest(trainer)


def is_dev_run(trainer: pl.Trainer) -> bool:
    """Whether trainer.fast_dev_run was set: such a run leaves no checkpoint."""
    return bool(getattr(trainer, "fast_dev_run", False))


def can_go_on_from_here(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint after this batch is all there is: no half-accumulated gradient, no validation to come."""
    if trainer.is_last_batch or trainer.should_stop or (batch_idx + 1) % trainer.val_check_batch == 0:  # type: ignore[operator]
        return False
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def save_newest(trainer: pl.Trainer) -> None:
    """Writes last.ckpt; called on every process."""
    trainer.save_checkpoint(Run(trainer.default_root_dir).last_checkpoint)


class ProcessState(Callback):
    """Adds to a checkpoint, and takes from it, what each process has for itself. Part of every training.

    Args:
        resumed: whether training goes on from a checkpoint.
    """

    def __init__(self, resumed: bool = False) -> None:
        self.resumed = resumed
        self.mine: dict[str, Any] = {}
        self.started = time.monotonic()
        self.patience: dict[EarlyStopping, int] = {}
        self.begun = False  # whether all of the checkpoint has been taken up

    @property
    def seconds(self) -> float:
        """Of training so far, those before the checkpoint among them."""
        return float(self.mine.get("seconds", 0.0)) + time.monotonic() - self.started

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state of all processes."""
        assert isinstance(pl_module, Classifier)
        mine = {"generators": generators(), "sums": pl_module.totals["train"].state_dict(), "seconds": self.seconds}
        assert trainer.train_dataloader is not None
        mine["loader"] = trainer.train_dataloader.state_dict()
        everyones: list[Any] = [mine]
        if trainer.world_size > 1:
            everyones = [None] * trainer.world_size
            torch.distributed.all_gather_object(everyones, mine)
        checkpoint["processes"] = everyones

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keeps this process's state until training starts, for what comes before draws random numbers."""
        processes = checkpoint["processes"]
        if len(processes) != trainer.world_size:
            raise ValueError(
                f"trainer.devices: {trainer.world_size} processes, where the run had {len(processes)}; it goes on only "
                "with as many"
            )
        self.mine = processes[trainer.global_rank]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Notes the configured patience: a checkpoint restores that of the time when it was written."""
        self.patience = {stopper: stopper.patience for stopper in trainer.early_stopping_callbacks}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops again if early stopping had stopped training, which Lightning forgets; unless patience was raised."""
        self.started = time.monotonic()
        for stopper, patience in self.patience.items():
            other_reason = stopper.stopping_reason not in _PATIENCE_REASONS
            stopper.patience = patience
            if other_reason or stopper.wait_count >= patience:
                trainer.should_stop = True
            else:
                stopper.stopped_epoch, stopper.stopping_reason = 0, EarlyStoppingReason.NOT_STOPPED

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts generators, and within an epoch sums and position, back."""
        assert isinstance(pl_module, Classifier)
        if self.resumed:
            set_generators(self.mine["generators"])
            if trainer.fit_loop.restarted_mid_epoch:
                pl_module.totals["train"].load_state_dict(self.mine["sums"], pl_module.device)
                # Lightning does so itself, but not where a scheduler has asked for the number of steps before
                assert trainer.train_dataloader is not None
                trainer.train_dataloader.load_state_dict(self.mine["loader"])
            else:
                # the loader starts anew in each epoch, and draws a number as it does; Lightning would leave it out here
                trainer.fit_loop._resuming_from_checkpoint = False
        self.begun = True


def generators() -> dict[str, Any]:
    """The state of every random generator of this process, as tensors and plain values."""
    numpy: Any = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_generators(states: Mapping[str, Any]) -> None:
    """Puts every random generator back into a state that `generators` returned."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
