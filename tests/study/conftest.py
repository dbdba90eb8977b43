"""A reproduction without training: synthetic runs, their results, and the page made from them."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.scores import score
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.images import always_wrong, findings, near_duplicates
from fmnist_lightning.study.page import RESULTS, rewrite
from fmnist_lightning.study.plan import PlannedRun, Variant, plan
from fmnist_lightning.study.records import Record, describe_runs
from fmnist_lightning.study.results import collect

NAMES = FashionMNISTData.class_names
LABELS = torch.arange(10).repeat_interleave(100)
PREDICTED_AS = torch.tensor([6, 2, 3, 4, 5, 6, 0, 8, 9, 1])  # T-shirt for shirt and vice versa


@cache
def predict(num_wrong: int, to_each_other: float) -> tuple[torch.Tensor, dict[str, Any]]:
    """Predictions as `make_record` describes them, and their scores."""
    predicted = LABELS.clone()
    for label in range(10):
        num = min(num_wrong * 4, 90) if label == 6 else num_wrong
        predicted[label * 100 : label * 100 + num] = PREDICTED_AS[label]
        if label in (0, 6):
            predicted[label * 100 + round(num * to_each_other) : label * 100 + num] = 9
    return predicted, score(torch.nn.functional.one_hot(predicted, 10).float() * 9, LABELS, NAMES)


def make_record(
    num_wrong: int = 8,
    overfits: float = 0.1,
    slow: int = 0,
    rough: float = 0.0,
    extra: int = 5,
    to_each_other: float = 0.7,
) -> Record:
    """A run of 20 epochs up to the best one and `extra` after it.

    Args:
        num_wrong: misclassified images of each class of 100, four times as many for shirts.
        overfits: gap of the last epoch; that of the best one is 0.05.
        slow: epochs later.
        rough: height of the validation loss's fluctuations.
        extra: epochs after the best one, in which the validation loss rises.
        to_each_other: share of the misclassified shirts and T-shirts that are predicted as the other of the two.
    """
    predicted, test = predict(num_wrong, to_each_other)
    val = [1 / (epoch + 1 - min(slow, epoch)) + rough * (epoch % 2) for epoch in range(20)]
    val[-1] = min(val) - 0.001
    val += [val[-1] + 0.01 * (epoch + 1) for epoch in range(extra)]
    epochs = [
        {"epoch": i + 1.0, "train/loss": 1 / (i + 1), "val/loss": loss, "train/accuracy": 0.9, "val/accuracy": 0.9}
        for i, loss in enumerate(val)
    ]
    summary: dict[str, Any] = {
        "test": test,
        "best_epoch": 20,
        "epochs": len(epochs),
        "max_epochs": 26 if extra else 20,
        "patience": 5,
        "val": {"loss": min(val), "accuracy": 0.9},
        "fit_seconds": 10.0,
        "git_commit": "0123456",
        "git_dirty": False,
        "parameters": 1000,
        "split": {"train": 1000},
        "seed": 0,
    }
    scores = {
        checkpoint: {"train/loss": 0.2, **{f"{stage}/loss": 0.2 + gap for stage in ("val", "test")}}
        | {f"{stage}/accuracy": 0.9 for stage in ("train", "val", "test")}
        for checkpoint, gap in (("best", 0.05), ("last", overfits))
    }
    return Record(summary, epochs, scores, 12.0, LABELS, predicted)


def make_records(make: Callable[[Variant, int], Record], seeds: int = 4) -> dict[Variant, dict[int, Record]]:
    records: dict[Variant, dict[int, Record]] = {}
    for variant, seed in plan(range(seeds)):
        records.setdefault(variant, {})[seed] = make(variant, seed)
    return records


def as_claimed(variant: Variant, seed: int) -> Record:
    return make_record(
        num_wrong=(1 + seed % 2 if variant.model == "cnn" else 6) + round((2 + seed / 2) / variant.train_fraction),
        overfits=0.1 + 0.01 * seed if variant.dropout else 0.5,
        slow=0 if variant.batch_norm else 3,
        rough=0.004 + 0.001 * seed if variant.batch_norm else 0.05 + 0.004 * seed,
    )


def make_reference() -> dict[str, Any]:
    calibration = {"temperature": 1.1, "outlier_threshold": 0.5}
    calibration |= {f"calibration_error_{when}": 0.01 for when in ("before", "after")}
    card = {"input": "images", "output": "probabilities", "class_names": list(NAMES), "temperature": 1.1, "run": "run"}
    card |= {"model": "ann", "epoch": 20, "checkpoint_sha256": "0" * 64, "data": "synthetic", "data_sha256": "0" * 64}
    card |= {"git_commit": "0123456", "versions": {"torch": "1"}, "license": "MIT"}
    reference = {"seed": 10, "directory": "run", "accuracy": 0.9, "parameters": 1000, "training": "model: {}"}
    return {**reference, "calibration": calibration, "card": card}


def make_page(folder: Path) -> dict[str, Any]:
    """Writes results.json and the page of a reproduction with four seeds; returns the results."""
    folder.mkdir(exist_ok=True)
    overrides = ["data=synthetic", f"data.root={folder / 'data'}", "data.num_train=400", "data.num_test=1000"]
    data = FashionMNISTData("synthetic", root=str(folder / "data"), num_train=400, num_test=1000)
    data.setup()
    environment = data.dataset_info | {
        "device": "a CPU",
        "precision": "32-true",
        "versions": {"torch": "1"},
        "code_sha256": "89ab",
    }
    records = make_records(as_claimed)
    for record in (record for runs in records.values() for record in runs.values()):
        record.summary.update(environment)
    runs = {
        PlannedRun(variant, seed): Run(folder / "runs" / f"{variant.name}_seed-{seed}")
        for variant, seeds in records.items()
        for seed in seeds
    }
    results = collect(records, "full", 2) | {
        "reference": {model: make_reference() for model in ("ann", "cnn")},
        "photos": None,
        "images": findings(records, always_wrong(records), near_duplicates(data)),
        "runs": describe_runs(records, runs),
    }
    (folder / RESULTS).write_text(json.dumps(results))
    return rewrite(folder, overrides)
