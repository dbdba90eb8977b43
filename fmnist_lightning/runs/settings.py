"""What the jobs of a sweep vary: the keys, and the settings, which are jobs that differ in their seed alone."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]
SEED = "seed"


def overridden_keys(rows: Sequence[Row]) -> list[str]:
    """Every key that a job overrides, in the order in which it was typed."""
    return list(dict.fromkeys(key for row in rows for key in row["overrides"]))


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The keys whose value differs between jobs."""
    return [key for key in overridden_keys(rows) if len({row["overrides"].get(key) for row in rows}) > 1]


class Setting(NamedTuple):
    """Jobs that differ in their seed alone.

    Args:
        overrides: without the seed.
        rows: of all its jobs.
        completed: those that were completed and have scores.
    """

    overrides: dict[str, str]
    rows: list[Row]
    completed: list[Row]

    def mean_std(self, name: str) -> tuple[float, float | None] | None:
        """Mean and sample standard deviation of a score over the completed jobs; None for what is not defined."""
        values = [row[name] for row in self.completed if row[name] is not None]
        if not values:
            return None
        mean = sum(values) / len(values)
        squares = sum((value - mean) * (value - mean) for value in values)  # statistics.stdev rejects infinity
        return mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None


def settings_of(rows: Sequence[Row]) -> list[Setting]:
    """The settings of a sweep, in the order of their first jobs; empty unless the seed varies."""
    if SEED not in swept_keys(rows):
        return []
    found: dict[tuple[tuple[str, str], ...], Setting] = {}
    for row in rows:
        overrides = {key: value for key, value in row["overrides"].items() if key != SEED}
        setting = found.setdefault(tuple(sorted(overrides.items())), Setting(overrides, [], []))
        setting.rows.append(row)
        if row["status"] == "completed" and row["value"] is not None and not row["partial"]:
            setting.completed.append(row)
    return list(found.values())
