"""The order of a sweep's jobs, the best one, and warnings about jobs that cannot be compared. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_lightning.runs.settings import Row, Setting, settings_of

NAMES = {"val": "validation", "train": "training"}


def rank_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a job's row that ranks it.

    Args:
        summary: of the job; one of an older version monitored the validation loss.
    """
    value = summary.get("val", {}).get("loss")
    monitored = summary.get("monitored") or {"metric": "val/loss", "mode": "min", "value": value}
    return {
        "monitored": monitored["metric"],
        "mode": monitored["mode"],
        "value": monitored["value"] if value is not None else None,  # None if the job has no scores
        "images": (summary.get("data_sha256"), summary.get("val_sha256", summary.get("split_sha256"))),
        "data_note": summary.get("data_note"),
        "partial": str(summary.get("partial") or ""),
    }


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The rows, best monitored value first; partial runs after the others, jobs without scores last."""

    def key(row: Row) -> tuple[Any, ...]:
        value = row["value"] if row["value"] is not None else 0.0
        signed = value if row["mode"] == "min" else -value
        group = (row["monitored"], str(row["images"]))
        return row["value"] is None, bool(row["partial"]), group, signed, row["job"]

    return sorted(rows, key=key)


def ranked_settings(rows: Sequence[Row]) -> list[Setting]:
    """The settings of a sweep that varies the seed, best mean first; those with fewer completed jobs after the others.

    Args:
        rows: as `ranked` returns them.
    """

    def key(setting: Setting) -> tuple[int, float]:
        mean, _ = setting.mean_std("value") or (0.0, None)
        maximized = bool(setting.completed) and setting.completed[0]["mode"] == "max"
        return -len(setting.completed), -mean if maximized else mean

    return sorted(settings_of(rows), key=key)


def best(rows: Sequence[Row]) -> Row | None:
    """The completed job with the best monitored value, in the best setting if the seed varies.

    Args:
        rows: as `ranked` returns them.

    Returns:
        None if jobs cannot be compared.
    """
    compared = _compared(rows)
    if not _is_one_group(compared):
        return None
    settings = ranked_settings(rows)
    completed = settings[0].completed if settings else [row for row in compared if row["status"] == "completed"]
    return completed[0] if completed else None


def order(rows: Sequence[Row]) -> str:
    """The metric that orders the rows."""
    names = dict.fromkeys(row["monitored"] for row in _compared(rows)) or ["val/loss"]
    stages = [name.split("/", 1) for name in names]
    return ", ".join(" ".join((NAMES.get(stage, stage), *metric)) for stage, *metric in stages)


def warnings_of(rows: Sequence[Row]) -> list[str]:
    """Other images than Fashion-MNIST, jobs that cannot be compared, partial runs: a line for each."""
    scored = [row for row in rows if row["value"] is not None]
    notes = dict.fromkeys(row["data_note"] for row in scored if row["data_note"])
    found = []
    for note in notes:
        jobs = sorted(row["job"] for row in scored if row["data_note"] == note)
        which = "these scores" if len(jobs) == len(scored) else f"the scores of {', '.join(jobs)}"
        found.append(f"{note}: {which} say nothing about it")
    compared = _compared(rows)
    if len({row["images"] for row in compared}) > 1:
        found.append(
            "jobs have different images or validation splits (data_sha256, val_sha256): not comparable, no best"
        )
    if len({row["monitored"] for row in compared}) > 1:
        found.append(f"jobs monitor different metrics ({order(rows)}): not comparable, none is best")
    found += [f"job {row['job']} is a partial run ({row['partial']}): not comparable" for row in rows if row["partial"]]
    return found


def _compared(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["value"] is not None and not row["partial"]]


def _is_one_group(rows: Sequence[Row]) -> bool:
    return len({(row["images"], row["monitored"], row["mode"]) for row in rows}) == 1
