"""What results.json holds: scores beside the printed ones, ablation, training sizes, choices, costs, claims."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_lightning.study.claims import epochs_to, judge, swing
from fmnist_lightning.study.plan import CHOICES, FRACTIONS, Cell
from fmnist_lightning.study.printed import DIGITS, MEASURES, MODELS, PRINTED
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.statistics import describe, prediction_interval

Result = dict[str, Any]

FAR = 0.05  # between a printed value and our mean


def collect(records: Records, size: str, jobs: int) -> Result:
    """Everything but what needs the images.

    Args:
        records: of all runs of a plan.
        size: full or quick.
        jobs: how many runs were made at a time.
    """
    ablated = {model: ablation(records, model) for model in MODELS}
    return {
        "size": size,
        "models": {model: compare(records[Cell(model)], model) for model in MODELS},
        "ablation": ablated,
        "training_size": {model: training_size(records, model) for model in MODELS},
        "choices": {model: choices(records, model) for model in MODELS},
        "claims": judge(records, ablated),
        "costs": costs(records, jobs),
        "environment": environment(records),
    }


def compare(runs: Mapping[int, Record], model: str) -> Result:
    """One model's scores over its seeds, each beside the printed value."""
    tests = [record.summary["test"] for record in runs.values()]
    printed = PRINTED[model]
    return {
        "n": len(tests),
        "seeds": list(runs),
        "accuracy": beside([test["accuracy"] for test in tests], printed.accuracy),
        "per_class": [
            {
                **{key: tests[0]["per_class"][label][key] for key in ("label", "name", "support")},
                **{
                    measure: beside([test["per_class"][label][measure] for test in tests], value)
                    for measure, value in zip(MEASURES, values, strict=True)
                },
            }
            for label, values in enumerate(printed.per_class)
        ],
        **{
            average: {
                measure: beside([test[average][measure] for test in tests], value)
                for measure, value in zip(MEASURES, printed.average, strict=True)
            }
            for average in ("macro", "weighted")
        },
        "confusion_matrix": np.mean([test["confusion_matrix"] for test in tests], axis=0).round(2).tolist(),
        "val_loss": describe([record.summary["val"]["loss"] for record in runs.values()]),
        "best_epoch": [record.summary["best_epoch"] for record in runs.values()],
        "epochs": [record.summary["epochs"] for record in runs.values()],
        "stopped_early": [record.stopped_early for record in runs.values()],
        "fit_seconds": describe([record.summary["fit_seconds"] for record in runs.values()]),
        "parameters": next(iter(runs.values())).summary["parameters"],
    }


def beside(values: list[float], printed: float) -> Result:
    """Our values, the printed one, and whether that could be one more of ours.

    `within` is whether the printed value, which stands for anything that rounds to it, meets the interval in which one
    more run lies with probability 0.95; null of one value.
    """
    described = describe(values)
    one_more = prediction_interval(values)
    half_digit = 0.5 * 10**-DIGITS
    within = None if one_more is None else one_more[0] - half_digit <= printed <= one_more[1] + half_digit
    difference = round(described["mean"] - printed, 6)
    return {**described, "one_more": one_more, "printed": printed, "difference": difference, "within": within}


def far_apart(result: Result) -> list[str]:
    """Which printed values of a model lie more than FAR from our mean, in words."""
    rows = [*result["per_class"], *({"name": f"{average} avg", **result[average]} for average in ("macro", "weighted"))]
    return [
        f"{row['name']} {measure} ({row[measure]['difference']:+.3f})"
        for row in rows
        for measure in MEASURES
        if abs(row[measure]["difference"]) > FAR
    ]


def ablation(records: Records, model: str) -> Result:
    """Dropout and batch normalization on and off.

    `loss_to_reach` is the lowest validation loss of the run that came least far, rounded up to two digits: every run
    reaches it.
    """
    cells = [Cell(model, dropout, batch_norm) for dropout in (True, False) for batch_norm in (True, False)]
    seeds = sorted(set.intersection(*(set(records[cell]) for cell in cells)))
    lowest = max(min(row["val/loss"] for row in records[cell][seed].epochs) for cell in cells for seed in seeds)
    loss_to_reach = math.ceil(lowest * 100) / 100
    shortest = min(len(records[cell][seed].epochs) for cell in cells for seed in seeds)
    rows = []
    for cell in cells:
        runs = [records[cell][seed] for seed in seeds]
        swings = [swing(run, shortest) for run in runs]
        rows.append(
            {
                "dropout": cell.dropout,
                "batch_norm": cell.batch_norm,
                "accuracy": describe([run.accuracy for run in runs]),
                "val_loss": describe([run.losses["best"]["val"] for run in runs]),
                "gap": describe([run.gap("best") for run in runs]),
                "gap_last": describe([run.gap("last") for run in runs]),
                "epochs_to_reach": describe([epochs_to(run, loss_to_reach) for run in runs]),
                "swing": None if None in swings else describe([s for s in swings if s is not None]),
                "epochs": [run.summary["epochs"] for run in runs],
            }
        )
    return {"seeds": seeds, "loss_to_reach": loss_to_reach, "swing_until": shortest, "cells": rows}


def training_size(records: Records, model: str) -> list[Result]:
    """Scores by the share of the training images, over the seeds that all sizes have."""
    cells = [Cell(model, train_fraction=fraction) for fraction in (*FRACTIONS, 1.0)]
    seeds = sorted(set.intersection(*(set(records[cell]) for cell in cells)))
    return [
        {
            "fraction": cell.train_fraction,
            "images": records[cell][seeds[0]].summary["split"]["train"],
            "seeds": seeds,
            "accuracy": describe([records[cell][seed].accuracy for seed in seeds]),
            "val_loss": describe([records[cell][seed].losses["best"]["val"] for seed in seeds]),
            "gap": describe([records[cell][seed].gap("best") for seed in seeds]),
        }
        for cell in cells
    ]


def choices(records: Records, model: str) -> list[Result]:
    """One run for each other way to complete the study's recipe, beside the recipe's run of the same seed."""
    rows = []
    for choice in ("", *CHOICES[model]):
        runs = records[Cell(model, choice=choice)]
        record = runs[min(runs)] if choice else runs[min(records[Cell(model, choice=CHOICES[model][0])])]
        rows.append(
            {
                "choice": choice or "the recipe",
                "seed": record.summary["seed"],
                "val_loss": record.summary["val"]["loss"],
                "val_accuracy": record.summary["val"]["accuracy"],
                "accuracy": record.accuracy,
                "best_epoch": record.summary["best_epoch"],
                "epochs": record.summary["epochs"],
                "parameters": record.summary["parameters"],
                "fit_seconds": record.summary["fit_seconds"],
            }
        )
    return rows


def costs(records: Records, jobs: int) -> Result:
    """What all of it took: seconds of training alone, and of whole runs with their tests and reports."""
    runs = [record for seeds in records.values() for record in seeds.values()]
    return {
        "runs": len(runs),
        "jobs": jobs,
        "fit_seconds": round(sum(record.summary["fit_seconds"] for record in runs)),
        "run_seconds": round(sum(record.seconds for record in runs)),
    }


def environment(records: Records) -> Result:
    """Where the numbers come from."""
    summary = next(iter(records[Cell("cnn")].values())).summary
    ann = next(iter(records[Cell("ann")].values())).summary
    commits = {r.summary["git_commit"] for runs in records.values() for r in runs.values()}
    dirty = any(r.summary["git_dirty"] for runs in records.values() for r in runs.values())
    return {
        "device": summary["device"],
        "precision": {"ann": ann["precision"], "cnn": summary["precision"]},
        "versions": summary["versions"],
        "git_commits": sorted(commit or "not from a checkout" for commit in commits),
        "git_dirty": dirty,
        **{key: summary[key] for key in ("code_sha256", "data", "data_note", "data_sha256", "split", "split_sha256")},
    }
