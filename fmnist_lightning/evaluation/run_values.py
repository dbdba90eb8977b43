"""The values that a run has once, with the names under which every logger receives them."""

from collections.abc import Mapping
from typing import Any

# TensorBoard sorts tag groups by name and expands the first two, train and val; this one comes after them, collapsed
GROUP = "whole_run"
# the columns of TensorBoard's HParams table, which shows the first five until others are selected
METRICS = (
    *("best/monitored", "best/val_loss", "best/val_accuracy", "test/accuracy", "test/macro_f1", "test/loss"),
    *("epochs", "fit_seconds"),
)


def run_values(summary: Mapping[str, Any]) -> dict[str, float]:
    """The values of METRICS by tag, `GROUP/NAME`, taken from a summary; a trial of a search has no test scores."""
    val, test = summary["val"], summary.get("test")
    best = (summary["monitored"]["value"], val["loss"], val["accuracy"])
    scores = (test["accuracy"], test["macro"]["f1"], test["loss"]) if test else ()
    values = dict(zip(METRICS, (*best, *scores), strict=False)) | {name: summary[name] for name in METRICS[-2:]}
    return {f"{GROUP}/{name}": value for name, value in values.items()}
