"""The page of a hyperparameter search: one self-contained file, without plotly, whose script alone has 4.8 MB.

Optuna's plots are drawn by Matplotlib as SVG: they need no script, take the page's light or dark colours and are
readable when printed. Browsing interactively is what optuna-dashboard is for.
"""

import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from fmnist_lightning.evaluation.report import templates
from fmnist_lightning.evaluation.search_charts import search_charts

STATES = {TrialState.COMPLETE: "completed", TrialState.FAIL: "failed"}  # the others by their own names
SHOWN = ("report/report.html", "fmnist.log", "")  # what a trial links to: the first that exists


class Line(NamedTuple):
    """A line of the table of trials: its cells are the value, the parameters, best epoch and seconds."""

    number: int
    state: str
    cells: list[str]
    href: str
    error: str


def search_page(
    study: optuna.Study,
    runs: Mapping[int, Path],
    metric: str = "validation loss",
    command: str = "",
    storage: str = "",
) -> str:
    """The page, which belongs into the directory of the run directories.

    Args:
        study: with one objective.
        runs: the run directories by the number of their trial; other trials are left out of the table.
        metric: the name of what the search optimizes.
        command: that trains the best trial's run.
        storage: of the study, as optuna-dashboard takes it: the path of a journal file, or a URL without a password.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.number in runs]
    completed = any(trial.state == TrialState.COMPLETE for trial in trials)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    counts = Counter(_state(trial) for trial in trials)
    lines = [_line(study, trial, names, runs[trial.number]) for trial in trials]
    best = study.best_trial.number if completed else None
    return (
        templates("fmnist_lightning.evaluation")
        .get_template("search.html.j2")
        .render(
            name=study.study_name,
            metric=metric,
            counts=counts,
            seconds=sum(trial.duration.total_seconds() for trial in trials if trial.duration),
            best=next((line for line in lines if line.number == best), None),
            value=study.best_value if completed else None,
            parameters={name: _text(value) for name, value in study.best_params.items()} if completed else {},
            columns=["trial", "state", metric, *names, "best epoch", "seconds"],
            lines=lines,
            failures=[line for line in lines if line.error],
            charts=search_charts(study, metric) if completed else {},
            command=command,
            storage=shlex.quote(storage) if storage else "",
        )
    )


def _state(trial: FrozenTrial) -> str:
    return str(STATES.get(trial.state, trial.state.name.lower()))


def _line(study: optuna.Study, trial: FrozenTrial, names: list[str], folder: Path) -> Line:
    values = list(trial.intermediate_values.values())
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        values = [trial.value]
    best = min if study.direction == StudyDirection.MINIMIZE else max
    cells = [f"{best(values):.4f}" if values else ""]
    cells += [_text(trial.params[name]) if name in trial.params else "" for name in names]
    epochs = len(trial.intermediate_values)
    best_epoch = trial.user_attrs.get("best_epoch")
    cells.append(f"{best_epoch} of {epochs}" if best_epoch else str(epochs) if epochs else "")
    cells.append(f"{trial.duration.total_seconds():.1f}" if trial.duration else "")
    shown = next((name for name in SHOWN if (folder / name).exists()), None)
    href = "" if shown is None else quote(f"{folder.name}/{shown}")
    return Line(trial.number, _state(trial), cells, href, str(trial.user_attrs.get("error", "")))


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
