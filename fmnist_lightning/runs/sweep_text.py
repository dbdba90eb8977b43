"""What a sweep prints: a line per job while it runs, and at its end a table of jobs, or of settings over seeds."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence

from fmnist_lightning.config.launch import Launch
from fmnist_lightning.runs.ranking import best, order, ranked_settings
from fmnist_lightning.runs.settings import SEED, Row, swept_keys
from fmnist_lightning.runs.sweep_table import count, format_mean, format_score
from fmnist_lightning.runs.text_table import GAP, key_columns, short_width, terminal_width, to_line

MAX_ROWS = 20  # of the final table
TITLES = {"val_loss": "val loss", "val_accuracy": "val acc.", "test_accuracy": "test acc."}
SLOW_KEYS = ("model", "experiment")  # jobs that differ in these take different times


class JobLines:
    """A line for each job of a sweep, in columns whose widths are known from the command line.

    Args:
        launch: of the sweep.
        width: of the terminal.
    """

    def __init__(self, launch: Launch, width: int | None = None) -> None:
        options = {each[0].get_key_element(): each for each in (*launch.groups, *launch.values)}
        values = {key: [(each.input_line or "").partition("=")[2] for each in many] for key, many in options.items()}
        self.num_jobs = math.prod(map(len, values.values()))
        self.varied = {key: many for key, many in values.items() if len(many) > 1}
        self.folder = launch.sweep_dir
        self.is_sequential = launch.launcher == "basic"
        self.has_own_output = launch.launcher not in ("basic", "joblib")
        self.started = time.time()
        score = _title("value", str(launch.cfg.callbacks.best_checkpoint.monitor))
        done = len(f"{self.num_jobs} of {self.num_jobs}")
        self._last = {"best epoch": 10, score: max(len(score), 6), "test acc.": 9, "seconds": 7, "left": 7}
        room = (width or terminal_width()) - done - sum(len(GAP) + size for size in self._last.values())
        self._keys = key_columns(self.varied, room)
        self._widths = [done, *(size for _, size in self._keys.values()), *self._last.values()]

    def heading(self) -> list[str]:
        """What is printed before the first job."""
        title = f"sweep of {self.num_jobs} job{'s' * (self.num_jobs > 1)}: {self.folder}"
        if self.has_own_output:
            return [title, f"the table follows when all have ended; their output: {self.folder}/.submitit"]
        return [title, to_line(["done", *(title for title, _ in self._keys.values()), *self._last], self._widths)]

    def line(self, number: int, row: Row, rows: Sequence[Row], reused: bool = False) -> str:
        """The line of a job that has ended.

        Args:
            number: of the job, from 0.
            row: of the job.
            rows: of all jobs that have started.
            reused: whether it was completed before this command.
        """
        before = [each for each in self._ended(rows) if each["written"] <= row.get("written", math.inf)]
        position = number + 1 if self.is_sequential else len(before)
        start = [f"{position} of {self.num_jobs}", *(row["overrides"].get(key, "") for key in self._keys)]
        if reused or row["value"] is None or row["status"] not in ("completed", "partial"):
            what = "already completed" if reused else f"{row['status']}{': ' * bool(row['error'])}{row['error']}"
            return f"{to_line(start, self._widths[: len(start)])}{GAP}{what}"
        scores = [
            f"{row['best_epoch']} of {row['epochs']}",
            *(f"{row[name]:.4f}" for name in ("value", "test_accuracy")),
        ]
        return to_line([*start, *scores, f"{row['seconds']:.1f}", self._remaining(rows)], self._widths)

    def _ended(self, rows: Sequence[Row]) -> list[Row]:
        """The jobs that ended, in this start of the sweep or completed in an earlier one."""
        return [
            row
            for row in rows
            if row["status"] == "completed" or (row["status"] != "running" and row["written"] >= self.started)
        ]

    def _remaining(self, rows: Sequence[Row]) -> str:
        """An estimate of how long the other jobs take: as long as those of the same model that were completed."""
        ended = self._ended(rows)
        num_choices = math.prod(len(self.varied.get(key, [""])) for key in SLOW_KEYS)
        jobs: dict[tuple[str, ...], list[Row]] = {}
        for row in ended:
            jobs.setdefault(tuple(row["overrides"].get(key, "") for key in SLOW_KEYS), []).append(row)
        if len(ended) == self.num_jobs:
            return ""
        seconds = 0.0
        for same in jobs.values():
            num_left = self.num_jobs // num_choices - len(same)
            times = [row["seconds"] for row in same if row["status"] == "completed" and row["seconds"] is not None]
            if num_left > 0 and not times:
                return "?"
            seconds += num_left * statistics.fmean(times) if num_left > 0 else 0.0
        if len(jobs) < num_choices:
            return "?"
        # scoring and reporting take time, too; jobs at a time divide it
        trained = sum(row["seconds"] or 0.0 for row in ended if row["written"] >= self.started)
        seconds *= (time.time() - self.started) / trained if trained else 1.0
        minutes, seconds = divmod(round(min(seconds, 1e6)), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


def final_table(rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The lines of the table that a sweep prints: of its settings if the seed varies, else of its jobs.

    Args:
        rows: of the jobs, as `ranked` returns them.
        width: of the terminal.
    """
    best_row, settings = best(rows), ranked_settings(rows)
    monitored = rows[0]["monitored"]
    names = [*(["value"] if monitored not in ("val/loss", "val/accuracy") else []), *TITLES]
    columns: dict[str, list[str]] = {}
    if settings:
        title = "Mean ± std over n seeds" + f", by mean {order(rows)}" * (len(settings) > 1)
        columns["n"] = [count(setting) for setting in settings]
        columns |= {_title(name, monitored): [format_mean(setting, name) for setting in settings] for name in names}
        is_best = [len(settings) > 1 and any(row is best_row for row in setting.rows) for setting in settings]
        columns[""] = ["best" * each for each in is_best]
        overrides = [setting.overrides for setting in settings]
        keys = [key for key in swept_keys(rows) if key != SEED]
    else:
        title = f"Sweep, by {order(rows)}"
        columns["job"] = [row["job"] for row in rows]
        columns |= {_title(name, monitored): [format_score(name, row[name]) for row in rows] for name in names}
        columns["best epoch"] = [_epochs(row) for row in rows]
        columns[""] = ["best" if row is best_row else _remark(row) for row in rows]
        overrides = [row["overrides"] for row in rows]
        keys = swept_keys(rows)
    values = {key: [each.get(key, "") for each in overrides] for key in keys}
    return [title, *_fit(values, columns, _title("value", monitored), width or terminal_width())]


def _title(name: str, monitored: str) -> str:
    return monitored.replace("/accuracy", " acc.").replace("/", " ") if name == "value" else TITLES[name]


def _epochs(row: Row) -> str:
    return f"{row['best_epoch']} of {row['epochs']}" if row["best_epoch"] else ""


def _remark(row: Row) -> str:
    return "partial" if row["partial"] else "" if row["status"] == "completed" else str(row["status"])


def _fit(values: Mapping[str, list[str]], columns: dict[str, list[str]], monitored: str, width: int) -> list[str]:
    """The lines of a table, with the varied keys, to which scores that are not monitored give way."""
    optional = [title for title in ("val acc.", "best epoch", "val loss") if title in columns and title != monitored]
    while True:
        widths = [max(map(len, [title, *cells])) for title, cells in columns.items()]
        room = width - sum(size + len(GAP) for size in widths)
        if short_width(values) <= room or not optional:
            break
        del columns[optional.pop(0)]
    keys = key_columns(values, room)
    at = int("job" in columns)  # the keys follow the job
    titles, cells = list(columns), list(columns.values())
    titles[at:at] = [title for title, _ in keys.values()]
    cells[at:at] = [values[key] for key in keys]
    widths[at:at] = [size for _, size in keys.values()]
    lines = [to_line(line, widths) for line in zip(*cells, strict=True)]
    more = [f"... {len(lines) - MAX_ROWS} more in sweep.csv"] if len(lines) > MAX_ROWS else []
    return [to_line(titles, widths), *lines[:MAX_ROWS], *more]
