"""Writes checkpoints atomically with a checksum, and validates those that are read, which are untrusted input."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import nn

from fmnist_lightning.runs.files import atomic_write, checksum_path, is_intact, sha256


class AtomicCheckpointIO(CheckpointIO):
    """Writes checkpoints to `folder` only, atomically, each with a checksum; reads tensors and plain values only.

    Lightning's own plugin writes to the system's temporary directory, often on another file system: moving the file
    from there is a copy, which is truncated if the process is killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._written: dict[Path, str] = {}  # SHA-256 of the files on disk that this process wrote

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes the checkpoint; at any time the old or the new one is on disk, with its checksum.

        The checksum file is written first, with the checksum of the file that is replaced as a comment.
        """
        path = self._check_path(path)
        self.folder.mkdir(exist_ok=True)  # not its parents: a run directory that was removed is not created again
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        new = hashlib.sha256(buffer.getbuffer()).hexdigest()
        old = self._written.get(path) or (sha256(path) if is_intact(path) else "none")
        atomic_write(checksum_path(path), f"{new}  {path.name}\n# replaces {old}\n")
        atomic_write(path, buffer.getvalue())
        self._written[path] = new

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint into CPU memory."""
        checkpoint = read_checkpoint(Path(path))
        _relocate_paths(checkpoint, self.folder)
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint and its checksum."""
        path = self._check_path(path)
        for file in (path, checksum_path(path)):
            file.unlink(missing_ok=True)

    def _check_path(self, path: str | Path) -> Path:
        path = Path(path).absolute()
        if path.parent != self.folder or path.suffix != ".ckpt":
            raise ValueError(f"{path}: not a checkpoint of this run, whose checkpoints are in {self.folder}")
        return path


def _relocate_paths(checkpoint: dict[str, Any], folder: Path) -> None:
    """Sets the paths in a checkpoint to the run's directory, as that may have been moved.

    Otherwise Lightning loses the best checkpoint, or removes files in another directory.
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
    """The tensors (in CPU memory) and plain values of a checkpoint, which is untrusted: no code in it is executed.

    Raises:
        ValueError: it is missing, damaged, not a checkpoint, or contains more than tensors and plain values.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    if not is_intact(path):
        raise ValueError(f"{path}: damaged, its SHA-256 differs from the one in {checksum_path(path).name}")
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
        # torch stores its records uncompressed; a decompression bomb would fill the memory
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records are larger than the file")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an untrusted file can raise anything
        what = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ValueError(f"{path}: not a checkpoint of tensors and plain values ({what})") from error
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path}: contains no weights under the key state_dict")
    return dict(checkpoint)


def load_weights(model: nn.Module, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Loads a checkpoint's weights into a model; raises ValueError if names or shapes differ from the model's."""
    stored = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if stored != expected:
        name = next(name for name in [*expected, *stored] if expected.get(name) != stored.get(name))
        raise ValueError(
            f"{path}: not the weights of {type(model).__name__}: {name} has shape {stored.get(name, 'none')}, "
            f"and {expected.get(name, 'none')} in the model"
        )
    model.load_state_dict(checkpoint["state_dict"])
