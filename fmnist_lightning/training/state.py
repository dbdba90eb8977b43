"""Adds to each checkpoint what Lightning leaves out: a run killed at any time resumes bit-for-bit identically."""

import random
import time
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from fmnist_lightning.models import Classifier

_PATIENCE_REASONS = (EarlyStoppingReason.NOT_STOPPED, EarlyStoppingReason.PATIENCE_EXHAUSTED)


class TrainingState(Callback):
    """Stores and restores, for each process, the random generators, the totals of an unfinished epoch, and seconds."""

    def __init__(self) -> None:
        self.process_state: dict[str, Any] = {}  # of the checkpoint from which the run resumes
        self.started = time.monotonic()
        self.patience: dict[EarlyStopping, int] = {}  # as configured
        self.restored = False  # whether all of the checkpoint has been restored

    @property
    def seconds(self) -> float:
        """Of training so far, including those before the checkpoint."""
        return float(self.process_state.get("seconds", 0.0)) + time.monotonic() - self.started

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state of all processes."""
        assert isinstance(pl_module, Classifier)
        assert trainer.train_dataloader is not None
        process_state = {
            "generators": rng_states(),
            "epoch_totals": pl_module.totals["train"].state_dict(),
            "loader": trainer.train_dataloader.state_dict(),
            "seconds": self.seconds,
        }
        states: list[Any] = [process_state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, process_state)
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
        self.process_state = processes[trainer.global_rank]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keeps the configured patience, which the checkpoint overwrites after this hook."""
        self.patience = {stopper: stopper.patience for stopper in trainer.early_stopping_callbacks}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops again if early stopping had stopped the run, unless patience was raised; Lightning would train on."""
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
        if self.process_state:
            set_rng_states(self.process_state["generators"])
            if trainer.fit_loop.restarted_mid_epoch:
                pl_module.totals["train"].load_state_dict(self.process_state["epoch_totals"], pl_module.device)
                # Lightning does this too, except if a scheduler has asked for the number of steps before
                assert trainer.train_dataloader is not None
                trainer.train_dataloader.load_state_dict(self.process_state["loader"])
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
