"""Reads summary.json and validates it: a summary may come from another machine and is untrusted input."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_lightning.config.constraints import is_number
from fmnist_lightning.config.monitored import BEST
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.runs.files import read_text

MAX_SUMMARY_BYTES = 2**20  # a summary has a few thousand
# partial: completed without scores (fast_dev_run); the entry `partial` names overrides that limit the data
# pruned: a trial of a hyperparameter search that was stopped early
STATUSES = ("running", "completed", "partial", "interrupted", "failed", "pruned")


def _is_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(is_number(value.get(measure)) for measure in ("loss", "accuracy"))


def _is_monitored(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("metric"), str)
        and value.get("mode") in BEST
        and is_number(value.get("value"))
    )


def _is_calibration(value: Any) -> bool:
    names = ("temperature", "outlier_threshold", "calibration_error_before", "calibration_error_after")
    if not isinstance(value, dict) or not all(is_number(value.get(name)) for name in names):
        return False
    return bool(0.01 <= value["temperature"] <= 100 and all(abs(value[name]) <= 1000 for name in names))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# the entries that this package reads: what is allowed, and a check
ENTRIES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "status": (f"one of {', '.join(STATUSES)}", lambda v: v in STATUSES),
    "started": ("text or null", lambda v: v is None or _is_text(v)),
    "overrides": ("a list of text", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "val": ("an object with loss and accuracy", _is_scores),
    "test": ("an object with loss and accuracy", _is_scores),
    "calibration": ("an object of numbers: temperature, from 0.01 to 100, outlier_threshold, …", _is_calibration),
    "best_epoch": ("a number", is_number),
    "monitored": ("an object with metric, mode (min or max) and value", _is_monitored),
    "partial": ("null or text", lambda v: v is None or _is_text(v)),
    "logger_runs": (
        "an object of ids",
        lambda v: isinstance(v, dict) and all(re.fullmatch(r"\w+", str(run)) for run in v.values()),
    ),
    "parameters": ("a number", is_number),
    "epochs": ("a number", is_number),
    "fit_seconds": ("a number", is_number),
    "data": ("text", _is_text),
    "data_note": ("text or null", lambda v: v is None or _is_text(v)),
    "data_sha256": ("text", _is_text),
    "split_sha256": ("text", _is_text),
    "precision": ("a precision other than auto", lambda v: v != "auto" and SCHEMA["trainer.precision"].is_valid(v)),
    "resumed": ("a list of objects", lambda v: isinstance(v, list) and all(isinstance(part, dict) for part in v)),
}


def read_summary(path: Path) -> dict[str, Any]:
    """A summary as it was written; raises ValueError if it is no JSON object, or an entry has another type."""
    try:
        summary = json.loads(read_text(path, MAX_SUMMARY_BYTES), parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, {error}") from None
    if not isinstance(summary, dict):
        raise ValueError(f"{path}: damaged, not a JSON object")
    required = {"status", "overrides"}
    if "test" in summary:
        required |= {"val", "data", "data_sha256", "split_sha256", "precision"}
    for name, (allowed, is_valid) in ENTRIES.items():
        if (name in summary or name in required) and not is_valid(summary.get(name)):
            raise ValueError(f"{path}: damaged, {name} must be {allowed}")
    return summary


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
