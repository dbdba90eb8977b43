"""What early stopping does: the epoch that it selects, compared with the last of a run that trains on without it."""

from typing import Any

from fmnist_lightning.evaluation.statistics import describe
from fmnist_lightning.study.plan import with_early_stopping, without_early_stopping
from fmnist_lightning.study.records import Record, Records

MEASURES = {
    "val_loss": "val/loss",
    "val_accuracy": "val/accuracy",
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
}


def compare_to_last(records: Records, model: str) -> dict[str, Any]:
    """Epochs, and scores of the selected and the last epoch, over the seeds."""
    stopped, trained_on = records[with_early_stopping(model)], records[without_early_stopping(model)]
    seeds = sorted(stopped.keys() & trained_on.keys())
    selected = [_scores(stopped[seed], "best") for seed in seeds]
    last = [_scores(trained_on[seed], "last") for seed in seeds]
    max_epochs = [len(trained_on[seed].epochs) for seed in seeds]
    return {
        "seeds": seeds,
        "patience": stopped[seeds[0]].summary["patience"],
        "max_epochs": max_epochs[0],
        "num_stopped": sum(stopped[seed].stopped_early for seed in seeds),
        "selected_epoch": [stopped[seed].summary["best_epoch"] for seed in seeds],
        "last_epoch": [len(stopped[seed].epochs) for seed in seeds],
        "epochs_saved": describe([all_ - len(stopped[s].epochs) for s, all_ in zip(seeds, max_epochs, strict=True)]),
        "selected": _describe(selected),
        "last": _describe(last),
        "difference": _describe([{key: b[key] - a[key] for key in a} for a, b in zip(selected, last, strict=True)]),
    }


def _scores(run: Record, checkpoint: str) -> dict[str, float]:
    return {"gap": run.gap(checkpoint, "test"), **{name: run.scores[checkpoint][key] for name, key in MEASURES.items()}}


def _describe(scores: list[dict[str, float]]) -> dict[str, Any]:
    return {key: describe([each[key] for each in scores]) for key in scores[0]}
