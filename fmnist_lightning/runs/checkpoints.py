"""How a checkpoint is written to disk, and what is believed of one that is read."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import nn

from fmnist_lightning.runs.files import atomic_write, checksum_path, is_intact


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
        old = (
            checksum_path(path).read_text(encoding="utf-8", errors="replace")
            if path.exists() and checksum_path(path).exists()
            else ""
        )
        atomic_write(checksum_path(path), old + new)  # either file is good while one replaces the other
        atomic_write(path, buffer.getvalue())
        atomic_write(checksum_path(path), new)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint into the memory of the processor."""
        checkpoint = read_checkpoint(Path(path))
        _settle(checkpoint, self.folder)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint and its checksum."""
        for file in (self._own(path), checksum_path(self._own(path))):
            file.unlink(missing_ok=True)

    def _own(self, path: str | Path) -> Path:
        path = Path(path).absolute()
        if path.parent != self.folder or path.suffix != ".ckpt":
            raise ValueError(f"{path}: no checkpoint of this run; they lie in {self.folder}")
        return path


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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint of this project, wherever it comes from. No code in it is run.

    Returns:
        Tensors in the memory of the processor, and plain values; `state_dict` among them.

    Raises:
        ValueError: it is missing, damaged, no checkpoint, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint")
    if not is_intact(path):
        raise ValueError(f"{path}: damaged, its SHA-256 does not stand in {checksum_path(path).name}")
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
