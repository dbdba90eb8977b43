"""The rows that a search prints, within the terminal's width: each trial that ends, and the best ones at the end."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.runs.text_table import GAP, terminal_width, to_line, value_columns
from fmnist_lightning.tuning.search import Search

MAX_ROWS = 10  # of the final table
STATES = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_FLOAT = "1.2e-4"  # as wide as any number of an interval


class Table:
    """The columns of a search: the trial's number, the keys of the space, and its results."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._progress = self._columns({search.monitor: 8, "epoch": 8, "best": 6, "left": 6})
        self._final = self._columns({search.monitor: 8, "epoch": 8, "seconds": 7})

    def _columns(self, results: dict[str, int]) -> dict[str, tuple[str, int]]:
        """Title and width of each column, by name."""
        values = {
            key: [_short(value) for value in parameter.choices] or [_FLOAT, _short(parameter.high)]
            for key, parameter in self._search.space.items()
        }
        widths = {name: max(width, len(name)) for name, width in results.items()}
        room = terminal_width() - len("trial") - sum(len(GAP) + width for width in widths.values())
        others = {name: (name, width) for name, width in widths.items()}
        return {"trial": ("trial", len("trial")), **value_columns(values, room), **others}

    def header(self) -> str:
        """The titles of the rows of progress."""
        return _line(self._progress, {name: title for name, (title, _) in self._progress.items()})

    def row(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> str:
        """A trial that has ended, with the best value so far and the remaining time.

        Args:
            trial: that has ended.
            trials: all that count.
        """
        values = [each.value for each in trials if each.state == TrialState.COMPLETE and each.value is not None]
        best = f"{(min if self._search.mode == 'min' else max)(values):.4f}" if values else ""
        line = _line(self._progress, self._cells(trial) | {"best": best, "left": self._remaining(trials)})
        error = trial.user_attrs.get("error", "its process was killed")
        return f"{line}\n       failed: {error}" if trial.state == TrialState.FAIL else line

    def final(self, trials: Sequence[FrozenTrial]) -> list[str]:
        """The best trials, a line each, and how many there are of each state."""
        completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        completed.sort(key=lambda trial: trial.value or 0, reverse=self._search.mode == "max")
        lines = [_line(self._final, {name: title for name, (title, _) in self._final.items()})]
        lines += [_line(self._final, self._cells(trial)) for trial in completed[:MAX_ROWS]]
        counts = Counter(STATES[trial.state] for trial in trials if trial.state in STATES)
        summary = ", ".join(f"{counts[name]} {name}" for name in STATES.values() if counts[name])
        return [*(lines if completed else []), f"{counts.total()} trials: {summary}"]

    def _cells(self, trial: FrozenTrial) -> dict[str, str]:
        epochs = len(trial.intermediate_values)
        epoch = {
            TrialState.COMPLETE: f"{trial.user_attrs.get('best_epoch')} of {epochs}",
            TrialState.PRUNED: f"{epochs} pruned",
        }
        value = best_value(self._search, trial)
        return {
            "trial": str(trial.number),
            **{key: _short(value) for key, value in trial.params.items()},
            self._search.monitor: f"{value:.4f}" if value is not None else "",
            "epoch": epoch.get(trial.state, "failed"),
            "seconds": f"{seconds(trial):.1f}",
        }

    def _remaining(self, trials: Sequence[FrozenTrial]) -> str:
        """The estimated time of the other trials: the mean of those that ended, shared by the workers."""
        done = [trial for trial in trials if trial.state.is_finished()]
        num_workers = 1 + sum(trial.state == TrialState.RUNNING for trial in trials)
        left = max(0, self._search.num_trials - len(done))
        remaining = left * sum(map(seconds, done)) / max(1, len(done)) / num_workers
        if remaining < 100:
            return f"{remaining:.0f} s"
        return f"{remaining / 60:.0f} min" if remaining < 5940 else f"{remaining / 3600:.1f} h"


def best_value(search: Search, trial: FrozenTrial) -> float | None:
    """The best value of a trial so far, also of a pruned one; None before its first epoch."""
    values = trial.intermediate_values.values()
    return (min if search.mode == "min" else max)(values) if values else None


def seconds(trial: FrozenTrial) -> float:
    """The duration of a trial that has ended."""
    return trial.duration.total_seconds() if trial.duration else 0.0


def _line(columns: dict[str, tuple[str, int]], cells: dict[str, str]) -> str:
    return to_line([cells.get(name, "") for name in columns], [width for _, width in columns.values()])


def _short(value: Any) -> str:
    """Two digits of a number that is not an integer, such as 1.2e-4."""
    if not isinstance(value, float):
        return to_override(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}" if abs(int(exponent)) > 3 else f"{value:.2g}"
