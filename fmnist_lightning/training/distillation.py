"""Knowledge distillation: a run learns the probabilities that other runs, its teachers, give the augmented images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fmnist_lightning.config.config_files import user_config_dirs
from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.load import load_best
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.files import sha256
from fmnist_lightning.runs.patterns import find_folders
from fmnist_lightning.runs.run import Run

KEY = "callbacks.distillation.teachers"


class Distillation(Callback):
    """Makes cross-entropy with the mean of the teachers' probabilities the training loss (arXiv 1503.02531).

    Each teacher computes in the precision of its own run. Checkpoints contain nothing of the teachers.

    Args:
        teachers: run directories, or patterns of them.
        temperature: divides the logits of the teachers and of the student; this part of the loss is multiplied by its
            square, so that its gradients keep their size.
        label_weight: weight of the cross-entropy of the labels; the teachers have the rest.

    Raises:
        ValueError: a directory contains no run; in `setup`: a teacher's checkpoint is missing or not accepted, or it
            was trained on other images or another split.
    """

    def __init__(self, teachers: Sequence[str], temperature: float = 1.0, label_weight: float = 0.0) -> None:
        validate_values(callbacks__distillation__teachers=list(teachers))
        self.temperature, self.label_weight = temperature, label_weight
        self.runs = [Run.existing(folder, KEY) for folder in find_folders(list(teachers), KEY)]
        if without := [run.folder for run in self.runs if not run.best_checkpoint.exists()]:
            raise ValueError(f"{KEY}: {without[0]} has no checkpoint, no epoch was completed")
        self.checksums = [sha256(run.best_checkpoint) for run in self.runs]
        self.predictors: list[Predictor] = []
        self.student: Classifier | None = None

    def teachers(self) -> list[dict[str, str]]:
        """The directory of each teacher and the SHA-256 of its best checkpoint, for the summary."""
        return [{"run": str(run.folder), "sha256": sha} for run, sha in zip(self.runs, self.checksums, strict=True)]

    def check_resume(self, previous: list[dict[str, str]] | None) -> None:
        """Raises ValueError if the run was trained with other teachers, which are those of its summary."""
        if previous is not None and [teacher["sha256"] for teacher in previous] != self.checksums:
            raise ValueError(
                f"{KEY}: the run was trained with other teachers, or they were trained further since: "
                f"{', '.join(teacher['run'] for teacher in previous)}"
            )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Loads the teachers."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, FashionMNISTData)
        assert isinstance(pl_module, Classifier)
        config_dirs = user_config_dirs(HydraConfig.get()) if HydraConfig.initialized() else []
        self.student = pl_module
        self.predictors = []
        for run in self.runs:
            summary = run.read_summary()
            _check_split(run.folder, summary, data)
            cfg = run.read_config(config_dirs=config_dirs)
            predictor = load_best(run, cfg, trainer.strategy.root_device, summary.get("precision", "32-true"))
            predictor.model.requires_grad_(False)
            self.predictors.append(predictor)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Sets the loss; later than `setup`, where weight averaging copies the student."""
        assert self.student is not None
        self.student.training_loss = self.loss

    def loss(self, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch: images (N, 28, 28) uint8, the student's logits (N, 10), labels (N,) or (N, 10)."""
        assert self.student is not None
        soft = F.cross_entropy(logits / self.temperature, self._targets(images)) * self.temperature**2
        if self.label_weight == 0:
            return soft
        return torch.lerp(soft, self.student.smoothed(logits, labels), self.label_weight)

    @torch.no_grad()
    def _targets(self, images: Tensor) -> Tensor:
        """The mean of the teachers' probabilities (N, 10)."""
        probabilities = []
        for predictor in self.predictors:
            with predictor.autocast():
                logits = predictor.model(images).float()
            probabilities.append((logits / self.temperature).softmax(dim=1))
        return torch.stack(probabilities).mean(dim=0)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Releases the teachers."""
        if self.student is not None:
            self.student.training_loss = None
        self.predictors = []


def find_distillation(trainer: pl.Trainer) -> Distillation | None:
    """The trainer's callback, if it has one."""
    return next((each for each in trainer.callbacks if isinstance(each, Distillation)), None)  # type: ignore[attr-defined]


def _check_split(teacher: Path, summary: dict[str, Any], data: FashionMNISTData) -> None:
    for name, found in data.state_dict().items():
        if summary.get(name) != found:
            raise ValueError(
                f"{KEY}: {teacher} was trained on other images or another split ({name} differs); a teacher that has "
                "seen validation images of this run would make val/loss meaningless. Use runs with the same data and "
                "the same data.val_fraction, data.split_seed and data.train_fraction"
            )
