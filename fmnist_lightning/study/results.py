"""The content of results.json: scores compared to the reported ones, ablation, training sizes, choices, claims."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_lightning.evaluation.statistics import describe, prediction_interval
from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.curves import epochs_to, fluctuation
from fmnist_lightning.study.plan import CHOICES, FRACTIONS, Variant
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.reported import DIGITS, MEASURES, MODELS, REPORTED

Result = dict[str, Any]

LARGE_DIFFERENCE = 0.05  # between a reported value and the reproduced mean


def collect(records: Records, size: str, jobs: int) -> Result:
    """All results, except those that need the images.

    Args:
        records: of all planned runs.
        size: full or quick.
        jobs: how many runs were trained at a time.
    """
    ablated = {model: ablation(records, model) for model in MODELS}
    return {
        "size": size,
        "models": {model: compare(records[Variant(model)], model) for model in MODELS},
        "ablation": ablated,
        "training_size": {model: training_size(records, model) for model in MODELS},
        "choices": {model: choices(records, model) for model in MODELS},
        "claims": judge(records, ablated),
        "costs": costs(records, jobs),
        "environment": environment(records),
    }


def compare(runs: Mapping[int, Record], model: str) -> Result:
    """One model's scores over its seeds, each compared to the reported value."""
    tests = [record.summary["test"] for record in runs.values()]
    reported = REPORTED[model]
    return {
        "n": len(tests),
        "seeds": list(runs),
        "accuracy": compare_to_reported([test["accuracy"] for test in tests], reported.accuracy),
        "per_class": [
            {
                **{key: tests[0]["per_class"][label][key] for key in ("label", "name", "support")},
                **{
                    measure: compare_to_reported([test["per_class"][label][measure] for test in tests], value)
                    for measure, value in zip(MEASURES, values, strict=True)
                },
            }
            for label, values in enumerate(reported.per_class)
        ],
        **{
            average: {
                measure: compare_to_reported([test[average][measure] for test in tests], value)
                for measure, value in zip(MEASURES, reported.average, strict=True)
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


def compare_to_reported(values: list[float], reported: float) -> Result:
    """The reproduced values, the reported one, and whether that is a plausible result of one more run.

    `within` is whether any value that rounds to the reported one lies in the 95 % prediction interval; null for a
    single run.
    """
    described = describe(values)
    interval = prediction_interval(values)
    half_digit = 0.5 * 10**-DIGITS
    within = None if interval is None else interval[0] - half_digit <= reported <= interval[1] + half_digit
    difference = round(described["mean"] - reported, 6)
    return {
        **described,
        "prediction_interval": interval,
        "reported": reported,
        "difference": difference,
        "within": within,
    }


def large_differences(result: Result) -> list[str]:
    """Names of the reported values that differ from the reproduced mean by more than LARGE_DIFFERENCE."""
    rows = [*result["per_class"], *({"name": f"{average} avg", **result[average]} for average in ("macro", "weighted"))]
    return [
        f"{row['name']} {measure} ({row[measure]['difference']:+.3f})"
        for row in rows
        for measure in MEASURES
        if abs(row[measure]["difference"]) > LARGE_DIFFERENCE
    ]


def ablation(records: Records, model: str) -> Result:
    """The four variants with and without dropout and batch normalization.

    `loss_to_reach`, which every run reaches, is the highest of their lowest validation losses, rounded up.
    """
    variants = [Variant(model, dropout, batch_norm) for dropout in (True, False) for batch_norm in (True, False)]
    seeds = sorted(set.intersection(*(set(records[variant]) for variant in variants)))
    lowest = max(
        min(row["val/loss"] for row in records[variant][seed].epochs) for variant in variants for seed in seeds
    )
    loss_to_reach = math.ceil(lowest * 100) / 100
    shortest = min(len(records[variant][seed].epochs) for variant in variants for seed in seeds)
    rows = []
    for variant in variants:
        runs = [records[variant][seed] for seed in seeds]
        fluctuations = [fluctuation(run, shortest) for run in runs]
        rows.append(
            {
                "dropout": variant.dropout,
                "batch_norm": variant.batch_norm,
                "accuracy": describe([run.accuracy for run in runs]),
                "val_loss": describe([run.losses["best"]["val"] for run in runs]),
                "gap": describe([run.gap("best") for run in runs]),
                "gap_last": describe([run.gap("last") for run in runs]),
                "epochs_to_reach": describe([epochs_to(run, loss_to_reach) for run in runs]),
                "fluctuation": None if None in fluctuations else describe([s for s in fluctuations if s is not None]),
                "epochs": [run.summary["epochs"] for run in runs],
            }
        )
    return {"seeds": seeds, "loss_to_reach": loss_to_reach, "fluctuation_until": shortest, "variants": rows}


def training_size(records: Records, model: str) -> list[Result]:
    """Scores by the share of the training images, over the seeds that all sizes have."""
    variants = [Variant(model, train_fraction=fraction) for fraction in (*FRACTIONS, 1.0)]
    seeds = sorted(set.intersection(*(set(records[variant]) for variant in variants)))
    return [
        {
            "fraction": variant.train_fraction,
            "images": records[variant][seeds[0]].summary["split"]["train"],
            "seeds": seeds,
            "accuracy": describe([records[variant][seed].accuracy for seed in seeds]),
            "val_loss": describe([records[variant][seed].losses["best"]["val"] for seed in seeds]),
            "gap": describe([records[variant][seed].gap("best") for seed in seeds]),
        }
        for variant in variants
    ]


def choices(records: Records, model: str) -> list[Result]:
    """One run for each alternative to the recipe, after the recipe's own run with the same seed."""
    rows = []
    for choice in ("", *CHOICES[model]):
        runs = records[Variant(model, choice=choice)]
        record = runs[min(runs)] if choice else runs[min(records[Variant(model, choice=CHOICES[model][0])])]
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
    """Seconds of training, and of whole runs with evaluation and reports."""
    runs = [record for seeds in records.values() for record in seeds.values()]
    return {
        "runs": len(runs),
        "jobs": jobs,
        "fit_seconds": round(sum(record.summary["fit_seconds"] for record in runs)),
        "run_seconds": round(sum(record.seconds for record in runs)),
    }


def environment(records: Records) -> Result:
    """Where the numbers come from."""
    summary = next(iter(records[Variant("cnn")].values())).summary
    ann = next(iter(records[Variant("ann")].values())).summary
    summaries = [record.summary for runs in records.values() for record in runs.values()]
    commits = {each["git_commit"] for each in summaries}
    return {
        "device": summary["device"],
        "precision": {"ann": ann["precision"], "cnn": summary["precision"]},
        "versions": summary["versions"],
        "git_commits": sorted(commit or "not from a checkout" for commit in commits),
        "git_dirty": any(each["git_dirty"] for each in summaries),
        **{key: summary[key] for key in ("code_sha256", "data", "data_note", "data_sha256", "split", "split_sha256")},
    }
