"""A run without training: its predictions, summary, configuration and report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.comparison import ComparedRun
from fmnist_lightning.evaluation.origin import Origin
from fmnist_lightning.evaluation.report import build_report
from fmnist_lightning.evaluation.scores import score, worst_mistakes

NAMES = FashionMNISTData.class_names
EPOCH = {"train/loss": 0.6, "train/accuracy": 0.7, "val/loss": 0.5, "val/accuracy": 0.8}
EPOCHS = ({"epoch": 1.0, **EPOCH}, {"epoch": 2.0, **EPOCH})


def make_predictions(num: int = 300) -> tuple[Tensor, Tensor]:
    """Logits that are right about two times of three, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num) % 10
    logits = torch.randn(num, 10, generator=generator)
    logits[torch.arange(num), labels] += 2
    return logits, labels


def config_of(*overrides: str) -> DictConfig:
    """The configuration as a run directory has it: resolved, without Hydra's own node."""
    return OmegaConf.create(OmegaConf.to_yaml(without_hydra(compose_config(list(overrides))), resolve=True))


def make_report(
    predictions: tuple[Tensor, Tensor],
    epochs: Sequence[dict[str, float]] = EPOCHS,
    config: tuple[str, ...] = ("model=ann",),
    folder: str = "/outputs/run",
    command: str | None = "python -m fmnist_lightning model=ann",
    **changes: Any,
) -> dict[str, Any]:
    """The files of a report by name; changes are entries of its summary."""
    logits, labels = predictions
    summary = {
        "status": "completed",
        "started": "2025-12-31 23:59:59+01:00",
        "model": "ann",
        "data": "fashion_mnist",
        "data_note": None,
        "seed": 0,
        "overrides": ["model=ann"],
        "parameters": 109386,
        "epochs": 2,
        "best_epoch": 1,
        "fit_seconds": 1.5,
        "device": "a CPU",
        "precision": "32-true",
        "split": {"train": 48000, "val": 12000, "test": 300},
        "data_sha256": "ab",
        "split_sha256": "cd",
        "git_commit": None,
        "git_dirty": None,
        "versions": {"torch": "1"},
        "monitored": {"metric": "val/loss", "mode": "min", "value": 0.5},
        "val": {"loss": 0.5, "accuracy": 0.8},
        "test": score(logits, labels, NAMES),
    }
    images = torch.randint(256, (len(labels), 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    origin = Origin(config_of(*config), Path(folder), command)
    predictions = labels, logits.softmax(1)
    saliency = torch.zeros(len(worst_mistakes(*predictions)), 28, 28, 3, dtype=torch.uint8)
    return build_report(summary | changes, epochs, predictions, images, NAMES, origin, saliency)


def compared(
    name: str, logits: Tensor, labels: Tensor, epochs: Sequence[dict[str, float]] = EPOCHS, **summary: Any
) -> ComparedRun:
    """A run of a comparison, with these predictions."""
    probabilities = logits.softmax(dim=1)
    accuracy = (probabilities.argmax(dim=1) == labels).float().mean().item()
    scores = {"val": {"loss": 0.5, "accuracy": 0.8}, "test": {"accuracy": accuracy}, "best_epoch": 2}
    return ComparedRun(name, f"outputs/{name}", scores | summary, epochs, labels, probabilities)


def compared_runs(num: int) -> list[ComparedRun]:
    """Runs that are right about two times of three, partly on the same images; B never predicts class 9."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(500) % 10
    noise = torch.randn(1 + num, 500, 10, generator=generator)
    noise[:, torch.arange(500), labels] += 1.5
    noise[2, :, 9] = -18
    runs = []
    for i in range(num):
        epochs = [{**EPOCH, "epoch": 1.0}, {**EPOCH, "epoch": 2.0, "val/loss": 0.45 + i / 1000}]
        runs.append(compared("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i], noise[0] + noise[i + 1], labels, epochs))
    return runs


@pytest.fixture
def predictions() -> tuple[Tensor, Tensor]:
    """Logits and labels."""
    return make_predictions()
