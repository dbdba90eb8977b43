"""Loads the best checkpoint of a run and predicts with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.config.config_files import add_to_path
from fmnist_lightning.config.constraints import is_number
from fmnist_lightning.data.archives import CLASS_NAMES
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights, read_checkpoint
from fmnist_lightning.runs.run import Run

BATCH_SIZE = 512


class Predictor:
    """The model of a run's best checkpoint, on one device.

    Args:
        model: the trained model.
        epoch: the checkpoint's epoch, counted from 1.
        device: the device that computes.
        precision: as trainer.precision, auto excluded.
    """

    class_names = CLASS_NAMES

    def __init__(self, model: Classifier, epoch: int, device: torch.device | str, precision: str) -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)
        self.epoch, self.precision = epoch, precision

    def predict(self, images: Tensor) -> Tensor:
        """Probabilities (N, 10) float32 of images (N, 28, 28) uint8."""
        return self.logits(images).softmax(dim=1)

    @torch.inference_mode()
    def logits(self, images: Tensor, after_batch: Callable[[], None] | None = None) -> Tensor:
        """Logits (N, 10) float32, on the CPU, of images (N, 28, 28) uint8; `after_batch` may raise to stop."""
        if images.dtype != torch.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(f"images: {tuple(images.shape)} {images.dtype}; must be (N, 28, 28) uint8")
        # as Lightning does: no float16 on a CPU
        half = torch.float16 if self.precision == "16-mixed" and self.device.type != "cpu" else torch.bfloat16
        batches = []
        with torch.autocast(self.device.type, half, enabled=self.precision.endswith("-mixed")):
            for batch in images.split(BATCH_SIZE):
                batches.append(self.model(batch.to(self.device)).float().cpu())
                if after_batch is not None:
                    after_batch()
        return torch.cat(batches)


def load_run(
    directory: str | Path,
    config_dirs: Sequence[str | Path] = (),
    accelerator: str = "auto",
    precision: str | None = None,
) -> Predictor:
    """Loads the best checkpoint of a run.

    Args:
        directory: the run's directory.
        config_dirs: the user's config directories, as given to training by --config-dir.
        accelerator: as trainer.accelerator.
        precision: as trainer.precision; None is that of the run.

    Raises:
        ValueError: the directory contains no run or no checkpoint, or its config or checkpoint is not accepted.
    """
    run = Run.existing(directory)
    paths = [Path(path).resolve() for path in config_dirs]
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"config_dirs: {path}: no such directory")
    cfg = run.read_config(config_dirs=paths)
    add_to_path(paths)
    return load_best(run, cfg, choose_device(accelerator), precision or run.read_summary().get("precision", "32-true"))


def load_best(run: Run, cfg: DictConfig, device: torch.device | str = "cpu", precision: str = "32-true") -> Predictor:
    """Loads the best checkpoint of a run whose config has been read; ValueError if it does not fit the model."""
    if not run.best_checkpoint.exists():
        raise ValueError(f"{run.folder}: has no checkpoint, no epoch was completed")
    checkpoint = read_checkpoint(run.best_checkpoint)
    model: Classifier = instantiate(cfg.model, _convert_="all")
    load_weights(model, add_mean_and_std(checkpoint, model), run.best_checkpoint)
    return Predictor(model, checkpoint["epoch"] + 1, device, precision)


def add_mean_and_std(checkpoint: dict[str, Any], model: Classifier) -> dict[str, Any]:
    """The checkpoint; in one of version 0.1, mean and std are moved from the datamodule to the model's first layer."""
    data = checkpoint.get("FashionMNISTData")
    if "normalize.mean" in checkpoint["state_dict"] or not isinstance(data, dict):
        return checkpoint
    if not all(is_number(data.get(name)) for name in ("mean", "std")):
        return checkpoint
    model.normalize.set_mean_and_std(data["mean"], data["std"])
    first = {f"normalize.{name}": value for name, value in model.normalize.state_dict().items()}
    return {**checkpoint, "state_dict": {**checkpoint["state_dict"], **first}}


def choose_device(accelerator: str) -> torch.device:
    """The device of trainer.accelerator, for auto the fastest of this machine; ValueError if it is missing."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda")
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    if accelerator in ("auto", "cpu"):
        return torch.device("cpu")
    raise ValueError(f"accelerator={accelerator}: this machine has no such device; auto and cpu are allowed here")
