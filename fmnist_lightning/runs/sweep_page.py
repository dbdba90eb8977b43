"""The texts of sweep.html: a line per job, in groups that begin with mean and standard deviation if the seed varies."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from fmnist_lightning.runs.ranking import best, order, ranked_settings, warnings_of
from fmnist_lightning.runs.settings import Row, Setting, overridden_keys, swept_keys
from fmnist_lightning.runs.sweep_table import AVERAGED, count, format_mean, format_score, status_of

SCORES = (*AVERAGED[1:], "best_epoch", "seconds")


class Line(NamedTuple):
    """A line of the table.

    Args:
        name: of the job.
        status: of the job, or the number of seeds.
        cells: the monitored score, the values of the swept keys, the other scores.
        href: of the job's report, relative to the page; empty if there is none.
        error: of the job.
        is_best: whether it is the best job.
        is_mean: whether it is the mean of the lines that follow it.
    """

    name: str
    status: str
    cells: list[str]
    href: str = ""
    error: str = ""
    is_best: bool = False
    is_mean: bool = False


def to_page(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """What the page of a sweep shows, by name.

    Args:
        rows: of the jobs, as `ranked` returns them.
        name: of the sweep's directory.
    """
    keys, settings, best_row = swept_keys(rows), ranked_settings(rows), best(rows)
    monitored = {row["monitored"].replace("/", "_") for row in rows}
    scores = [name for name in SCORES if {name} != monitored]
    groups = [[_job(row, keys, scores, best_row)] for row in rows]
    if settings:
        groups = [
            [_mean(setting, keys, scores), *(_job(row, keys, scores, best_row) for row in setting.rows)]
            for setting in settings
        ]
    counts = [f"{number} {status}" for status, number in Counter(map(status_of, rows)).items()]
    return {
        "title": f"Sweep {name}",
        "counts": f"{len(rows)} job{'s' * (len(rows) > 1)}: {', '.join(counts)}",
        "warnings": warnings_of(rows),
        "by": f"{'mean ' * bool(settings)}{order(rows)}",
        "best": best_row,
        "columns": ["job", "status", order(rows), *keys, *(name.replace("_", " ") for name in scores)],
        "groups": groups,
        "has_means": bool(settings),
        "failures": [line for group in groups for line in group if line.error],
        "fixed": {key: rows[0]["overrides"].get(key, "") for key in overridden_keys(rows) if key not in keys},
    }


def _job(row: Row, keys: Sequence[str], scores: Sequence[str], best_row: Row | None) -> Line:
    cells = [format_score("value", row["value"]), *(row["overrides"].get(key, "") for key in keys)]
    cells += [format_score(name, row[name]) for name in scores]
    return Line(row["job"], status_of(row), cells, row["href"], row["error"], row is best_row)


def _mean(setting: Setting, keys: Sequence[str], scores: Sequence[str]) -> Line:
    cells = [format_mean(setting, "value"), *(setting.overrides.get(key, "") for key in keys)]
    cells += [format_mean(setting, name) if name in AVERAGED else "" for name in scores]
    return Line("mean ± std", f"n = {count(setting)}", cells, is_mean=True)
