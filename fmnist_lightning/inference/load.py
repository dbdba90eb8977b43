"""Loads the best checkpoints of runs, which are untrusted input."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from fmnist_lightning.config.config_files import add_to_path
from fmnist_lightning.config.constraints import is_number
from fmnist_lightning.inference.ensemble import Ensemble
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.inference.run_calibration import read_calibration
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights, read_checkpoint
from fmnist_lightning.runs.run import Run


def load_run(
    directory: str | Path,
    config_dirs: Sequence[str | Path] = (),
    accelerator: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
) -> Predictor:
    """Loads the best checkpoint of a run.

    Args:
        directory: the run's directory.
        config_dirs: the user's config directories, as given to training by --config-dir.
        accelerator: as trainer.accelerator.
        precision: as trainer.precision; None is that of the run.
        data_root: the directory of the dataset; None is that of the run. It is read if the run has no calibration yet.

    Raises:
        ValueError: the directory contains no run or no checkpoint, its config or checkpoint is not accepted, its
            classes are not those of Fashion-MNIST, or it has no calibration and its images are not on disk.
    """
    run = Run.existing(directory)
    paths = [Path(path).resolve() for path in config_dirs]
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"config_dirs: {path}: no such directory")
    cfg = run.read_config(config_dirs=paths)
    add_to_path(paths)
    precision = precision or run.read_summary().get("precision", "32-true")
    predictor = load_best(run, cfg, choose_device(accelerator), precision)
    _check_classes(run, cfg, predictor)
    predictor.calibration = read_calibration(run, cfg, predictor, data_root)
    return predictor


def load_runs(
    directories: Sequence[str | Path],
    tta: bool = False,
    config_dirs: Sequence[str | Path] = (),
    accelerator: str = "auto",
    precision: str | None = None,
    data_root: str | None = None,
) -> Predictor | Ensemble:
    """Loads several runs as one ensemble; a single run without `tta` as a Predictor.

    Args:
        directories: of the runs.
        tta: whether predictions are averaged over each image and its mirror image.
        config_dirs: as for `load_run`.
        accelerator: as for `load_run`.
        precision: as for `load_run`.
        data_root: as for `load_run`.

    Raises:
        ValueError: as `load_run`.
    """
    if not directories:
        raise ValueError("run: no run directory is given")
    members = [load_run(directory, config_dirs, accelerator, precision, data_root) for directory in directories]
    return members[0] if len(members) == 1 and not tta else Ensemble(members, tta)


def _check_classes(run: Run, cfg: DictConfig, predictor: Predictor) -> None:
    names = getattr(get_class(cfg.data._target_), "class_names", ())
    outputs = predictor.logits(torch.zeros(1, 28, 28, dtype=torch.uint8)).shape[1:]
    if tuple(names) != predictor.class_names or outputs != (len(names),):
        raise ValueError(f"run={run.folder}: its classes are not the ten of Fashion-MNIST")


def load_best(run: Run, cfg: DictConfig, device: torch.device | str = "cpu", precision: str = "32-true") -> Predictor:
    """Loads the best checkpoint of a run whose config has been read; ValueError if it does not fit the model."""
    model, epoch = load_model(run, cfg)
    return Predictor(model, epoch, device, precision)


def load_model(run: Run, cfg: DictConfig) -> tuple[Classifier, int]:
    """The model with the weights of a run's best checkpoint, and its epoch, counted from 1; raises as `load_best`."""
    if not run.best_checkpoint.exists():
        raise ValueError(f"{run.folder}: has no checkpoint, no epoch was completed")
    checkpoint = read_checkpoint(run.best_checkpoint)
    model: Classifier = instantiate(cfg.model, _convert_="all")
    load_weights(model, add_mean_and_std(checkpoint, model), run.best_checkpoint)
    return model, checkpoint["epoch"] + 1


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
