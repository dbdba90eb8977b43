"""The content of results.json: scores compared to the reported ones, and what the modules of this package add."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fmnist_lightning.evaluation.statistics import describe, prediction_interval
from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.early_stopping import compare_to_last
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.provenance import costs, environment
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.reported import DIGITS, MEASURES, MODELS, REPORTED
from fmnist_lightning.study.training_size import power_law, training_size
from fmnist_lightning.study.variants import ablation, choices

Result = dict[str, Any]

LARGE_DIFFERENCE = 0.05  # between a reported value and the reproduced mean


def collect(records: Records, size: str, jobs: int) -> Result:
    """All results, except those that need the images.

    Args:
        records: of all planned runs.
        size: full or quick.
        jobs: how many runs were trained at a time.
    """
    sizes = {model: training_size(records, model) for model in MODELS}
    return {
        "size": size,
        "plan": {"document": "docs/analysis-plan.md"},
        "claims": judge(records),
        "models": {model: compare(records[Variant(model)], model) for model in MODELS},
        "ablation": {model: ablation(records, model) for model in MODELS},
        "early_stopping": {model: compare_to_last(records, model) for model in MODELS},
        "training_size": sizes,
        "power_law": {model: power_law(rows) for model, rows in sizes.items()},
        "choices": {model: choices(records, model) for model in MODELS},
        "costs": costs(records, size, jobs),
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
