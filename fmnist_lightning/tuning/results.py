"""What a search writes beside its trials: search.csv and search.html."""

import csv
import io
import shlex
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.runs.files import atomic_write, relative_path
from fmnist_lightning.tuning.retries import counted
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.storage import dashboard_storage
from fmnist_lightning.tuning.table import STATES, best_value, seconds
from fmnist_lightning.tuning.trial import overrides_of


def command_of(search: Search, trial: FrozenTrial) -> str:
    """The command that trains the run of a trial, and tests it."""
    options = ["--config-dir", search.config_dir] if search.config_dir else []
    return shlex.join(["python", "-m", "fmnist_lightning", *options, *overrides_of(search, trial.params)])


def write_table(search: Search, study: optuna.Study) -> None:
    """Writes search.csv: a row per trial."""
    kept = {trial.number for trial in counted(study)}
    fixed = ["trial", "state", search.monitor, "best_epoch", "epochs", "seconds", "directory", "error"]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*fixed[:3], *search.space, *fixed[3:]], lineterminator="\n")
    writer.writeheader()
    for trial in study.get_trials(deepcopy=False):
        state = STATES.get(trial.state, trial.state.name.lower()) if trial.number in kept else "retried"
        row = {"trial": trial.number, "state": state, search.monitor: best_value(search, trial)}
        row |= {key: to_override(value) for key, value in trial.params.items() if key in search.space}
        row |= {"best_epoch": trial.user_attrs.get("best_epoch"), "epochs": len(trial.intermediate_values)}
        row |= {"seconds": round(seconds(trial), 2), "error": trial.user_attrs.get("error")}
        directory = trial.user_attrs.get("directory")
        writer.writerow(row | {"directory": relative_path(directory) if directory else None})
    with search.lock():
        atomic_write(search.folder / "search.csv", text.getvalue())


def write_page(search: Search, study: optuna.Study) -> Path:
    """Writes search.html, and returns its path; the study has a completed trial."""
    from fmnist_lightning.evaluation.search_page import search_page  # which imports matplotlib

    ended = [trial for trial in counted(study) if trial.state in STATES]
    runs = {trial.number: Path(trial.user_attrs.get("directory", "")) for trial in ended}
    page = search_page(
        study,
        runs,
        metric=search.monitor.replace("val/", "validation "),
        command=command_of(search, study.best_trial),
        storage=dashboard_storage(search),
    )
    path = search.folder / "search.html"
    atomic_write(path, page)
    return path
