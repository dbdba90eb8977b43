"""How a checkpoint is written, what it holds beside Lightning's own, and what is believed of one that is read.

A run that is killed at any instant goes on from the newest whole checkpoint and reaches the bits that it would have
reached undisturbed. What Lightning leaves out of a checkpoint is added here: the state of every random generator and
the sums of an unfinished epoch, of each process.
"""

import hashlib
import io
import random
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping
from lightning.pytorch.plugins.io import CheckpointIO
from torch import nn

from fmnist_lightning.files import is_whole, sums_file, write_whole
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs import Run

# without these a run cannot go on; best.ckpt and last.ckpt have them both
_RESUMABLE = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "processes"}


class CheckpointFiles(CheckpointIO):
    """Writes a run's checkpoints whole, with a checksum beside them, and reads tensors and plain values alone.

    Lightning's own goes through the system's temporary folder, which often lies on another file system: moving a file
    from there is a plain copy, that a kill cuts short.

    Args:
        folder: of the run's checkpoints; nothing is written or removed elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes the checkpoint. Killed at any instant, the old or the new one is there, and its checksum."""
        path = self._own(path)
        self.folder.mkdir(exist_ok=True)  # not its parents: a run folder that was removed stays removed
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        new = f"{hashlib.sha256(buffer.getbuffer()).hexdigest()}  {path.name}\n"
        old = sums_file(path).read_text() if path.exists() and sums_file(path).exists() else ""
        write_whole(sums_file(path), old + new)  # either file is good while one replaces the other
        write_whole(path, buffer.getvalue())
        write_whole(sums_file(path), new)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint into the memory of the processor."""
        checkpoint = read_checkpoint(Path(path))
        _settle(checkpoint, self.folder)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint and its checksum."""
        for file in (self._own(path), sums_file(self._own(path))):
            file.unlink(missing_ok=True)

    def _own(self, path: str | Path) -> Path:
        path = Path(path).absolute()
        if path.parent != self.folder or path.suffix != ".ckpt":
            raise ValueError(f"{path}: no checkpoint of this run; they lie in {self.folder}")
        return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project, wherever it comes from. No code in it is run.

    Returns:
        Tensors in the memory of the processor, and plain values; `state_dict` among them.

    Raises:
        ValueError: it is missing, damaged, no checkpoint, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint")
    if not is_whole(path):
        raise ValueError(f"{path}: damaged, its SHA-256 is not the one in {sums_file(path).name}")
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
        # torch stores its records as they are: what claims to unpack to more is no checkpoint, but would fill memory
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records unpack to more than the file holds")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a file from elsewhere can make a reader raise has no bounds
        what = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ValueError(f"{path}: no checkpoint of tensors and plain values, and not read further ({what})") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: holds no weights under the name state_dict")
    return dict(checkpoint)


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Puts a checkpoint's weights into a model.

    Raises:
        ValueError: they are another model's: names or shapes differ.
    """
    theirs = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if theirs != ours:
        name = next(name for name in [*ours, *theirs] if ours.get(name) != theirs.get(name))
        raise ValueError(
            f"{path}: not the weights of {type(model).__name__}: {name} has shape {theirs.get(name, 'none')}, "
            f"and {ours.get(name, 'none')} in the model"
        )
    model.load_state_dict(checkpoint["state_dict"])


def newest_checkpoint(run: Run) -> tuple[Path | None, dict[str, Any], list[str]]:
    """The checkpoint that a run goes on from, its content, and what is wrong with those that it cannot go on from.

    The newest one, or where it is damaged the best one, which is older and whole in the same sense. None where the
    best one is damaged or gone: the run could go on, but not to the result that it would have had.
    """
    damaged = [path for path in (run.best_checkpoint, run.last_checkpoint) if path.exists() and not is_whole(path)]
    complaints = [f"{path} is damaged (its SHA-256 is another one)" for path in damaged]
    good = [path for path in (run.last_checkpoint, run.best_checkpoint) if path.exists() and path not in damaged]
    if run.best_checkpoint in damaged or not good:
        return None, {}, complaints
    checkpoint = read_checkpoint(good[0])
    if missing := sorted(_RESUMABLE - set(checkpoint)):
        raise ValueError(f"{good[0]}: a run cannot go on from it, for it has no {missing[0]}")
    if rows_of(checkpoint) and not run.best_checkpoint.exists():
        return None, {}, [*complaints, f"{run.best_checkpoint} is gone"]
    return good[0], checkpoint, complaints


def rows_of(checkpoint: Mapping[str, Any]) -> list[dict[str, float]]:
    """The rows of metrics.csv that a checkpoint has: one for each epoch that was finished."""
    rows: list[dict[str, float]] = checkpoint["callbacks"].get("EpochMetrics", {}).get("rows", [])
    return rows


def _settle(checkpoint: dict[str, Any], folder: Path) -> None:
    """Has the paths in a checkpoint name the run's folder, which may have been moved: else Lightning forgets the best.

    Nor can a checkpoint from elsewhere name another folder.
    """
    for state in checkpoint.get("callbacks", {}).values():
        if isinstance(state, dict) and "best_k_models" in state:
            state["dirpath"] = str(folder)
            state["best_k_models"] = {
                str(folder / Path(path).name): score for path, score in state["best_k_models"].items()
            }
            for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
                state[name] = str(folder / Path(state[name]).name) if state[name] else ""


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
        if n and trainer.global_step % n == 0 and can_go_on_from_here(trainer, batch_idx):
            save_newest(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves. Lightning calls checkpoints last, in their order: the best one has been written."""
        save_newest(trainer)


def can_go_on_from_here(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint after this batch is all there is: no half-accumulated gradient, no validation to come."""
    return not trainer.is_last_batch and (batch_idx + 1) % trainer.accumulate_grad_batches == 0


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

    @property
    def seconds(self) -> float:
        """Of training so far, those before the checkpoint among them."""
        return float(self.mine.get("seconds", 0.0)) + time.monotonic() - self.started

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the state of all processes."""
        assert isinstance(pl_module, Classifier)
        mine = {"generators": generators(), "sums": pl_module.sums(), "seconds": self.seconds}
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

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends what early stopping had ended: Lightning forgets that."""
        self.started = time.monotonic()
        stoppers = [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
        trainer.should_stop = any(
            stopper.stopped_epoch > 0 or stopper.wait_count >= stopper.patience for stopper in stoppers
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts generators, and within an epoch sums and position, back."""
        assert isinstance(pl_module, Classifier)
        if not self.resumed:
            return
        set_generators(self.mine["generators"])
        if trainer.fit_loop.restarted_mid_epoch:
            pl_module.set_sums(self.mine["sums"])
            # Lightning does so itself, but not where a scheduler has asked for the number of steps before
            assert trainer.train_dataloader is not None
            trainer.train_dataloader.load_state_dict(self.mine["loader"])
        else:
            # the loader starts anew in each epoch, and draws a number as it does; Lightning would leave it out here
            trainer.fit_loop._resuming_from_checkpoint = False


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
