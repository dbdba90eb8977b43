"""Reads the completed runs; runs that must not be compared are rejected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fmnist_lightning.execution.manifest import read_measurements
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.plan import PlannedRun, Variant

CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
SAME = ("data", "data_sha256", "device", "precision", "versions", "code_sha256")  # per model


@dataclass(frozen=True)
class Record:
    """One completed run.

    Attributes:
        summary: summary.json.
        epochs: the rows of metrics.csv.
        scores: of the best and the last checkpoint, as `score_checkpoints` returns them.
        seconds: of the whole run: training, testing, reporting, scoring the checkpoints.
        labels: (N,) of the test images.
        predicted: (N,) of the test images.
    """

    summary: dict[str, Any]
    epochs: list[dict[str, float]]
    scores: dict[str, dict[str, float]]
    seconds: float
    labels: Tensor
    predicted: Tensor

    @property
    def accuracy(self) -> float:
        """On the test images."""
        accuracy: float = self.summary["test"]["accuracy"]
        return accuracy

    @property
    def stopped_early(self) -> bool:
        """Whether early stopping ended the run; the last epoch is the limit's otherwise."""
        return bool(self.summary["epochs"] < self.summary["max_epochs"])

    def gap(self, checkpoint: str, stage: str = "val") -> float:
        """Validation (or test) minus training loss, all without dropout, of the `best` or the `last` epoch."""
        return self.scores[checkpoint][f"{stage}/loss"] - self.scores[checkpoint]["train/loss"]


Records = dict[Variant, dict[int, Record]]  # by variant, then by seed


def read_records(runs: Mapping[PlannedRun, Run]) -> Records:
    """Reads every run.

    Raises:
        ValueError: a run whose predictions do not match its summary, or which was trained on other images or by other
            code than the others.
    """
    records: Records = {}
    for (variant, seed), run in runs.items():
        summary = run.read_summary()
        labels, probabilities = run.read_predictions()
        predicted = probabilities.argmax(dim=1)
        if round((predicted == labels).double().mean().item(), 6) != summary["test"]["accuracy"]:
            raise ValueError(f"{run.predictions_csv}: does not match the scores in {run.summary_json}")
        cfg = run.read_config()
        summary |= {"max_epochs": cfg.trainer.max_epochs, "patience": cfg.callbacks.early_stopping.patience}
        measurements = read_measurements(run)
        records.setdefault(variant, {})[seed] = Record(
            summary, run.read_metrics(), measurements["measured"], measurements["seconds"], labels, predicted
        )
        first = next(
            record for other, seeds in records.items() if other.model == variant.model for record in seeds.values()
        )
        for fact in SAME:
            if summary[fact] != first.summary[fact]:
                raise ValueError(f"{run.folder}: {fact} differs from the other runs; remove the run to repeat it")
    return records


def describe_runs(records: Records, runs: Mapping[PlannedRun, Run]) -> list[dict[str, Any]]:
    """The part of results.json about each run: its scores, and its curves by epoch."""
    described = []
    for (variant, seed), run in runs.items():
        record = records[variant][seed]
        described.append(
            {
                "variant": variant.name,
                "seed": seed,
                "directory": run.folder.name,
                "accuracy": record.accuracy,
                "val_loss": record.summary["val"]["loss"],
                **{key: record.summary[key] for key in ("best_epoch", "epochs", "fit_seconds")},
                "stopped_early": record.stopped_early,
                "history": {key: [round(row[key], 6) for row in record.epochs] for key in CURVES},
            }
        )
    return described


def select_runs(results: dict[str, Any], variant: Variant, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The runs of a variant with some of its seeds, as `describe_runs` returns them."""
    return [run for run in results["runs"] if run["variant"] == variant.name and run["seed"] in seeds]
