"""One trial: an ordinary run with the trial's parameters, not tested."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import configure_log

from fmnist_lightning.config.compose import Composer, set_hydra_config, without_hydra
from fmnist_lightning.config.config_files import add_to_path, config_dirs_of
from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.tuning.search import Search

DATA = {"data_sha256": "images", "split_sha256": "split"}  # entries of a summary, and what they identify


class OtherDataError(ValueError):
    """The images or the split are not those of the study's other trials."""


def overrides_of(search: Search, params: dict[str, Any]) -> list[str]:
    """What reproduces a trial with the train command."""
    return [*search.fixed, *(f"{key}={to_override(params[key])}" for key in search.space if key in params)]


def run_trial(search: Search, trial: optuna.Trial, params: dict[str, Any]) -> float:
    """Trains the run of a trial; returns the monitored value of its best epoch.

    Raises:
        optuna.TrialPruned: it was pruned.
        OtherDataError: its images or its split are not those of the study.
        KeyboardInterrupt: Ctrl-C.
        Exception: it failed.
    """
    from fmnist_lightning.training.search_trial import SearchTrial

    def report(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        return bool(trial.should_prune())

    in_training = SearchTrial(search.monitor, report)
    summary = train_composed(search, search.run(trial.number).folder, overrides_of(search, params), in_training)
    for name in ("best_epoch", "data_note", "partial", "code_sha256"):
        trial.set_user_attr(name, summary.get(name))
    _check_data(search, trial.study, summary)
    if summary["status"] == "interrupted":
        raise KeyboardInterrupt
    if summary["status"] == "failed":
        raise ValueError(summary["error"])
    if summary["status"] == "pruned":
        raise optuna.TrialPruned
    if "monitored" not in summary:
        raise ValueError("no epoch was completed")
    return float(summary["monitored"]["value"])


def _check_data(search: Search, study: optuna.Study, summary: dict[str, Any]) -> None:
    """All trials have the images of the first: data=auto may find others on another machine."""
    if summary.get("data_sha256") is None:  # it failed before
        return
    data = {key: summary[key] for key in DATA}
    with search.lock():
        stored = study.user_attrs.get("data")
        if stored is None:
            study.set_user_attr("data", data)
    if different := [name for key, name in DATA.items() if stored and stored[key] != data[key]]:
        raise OtherDataError(
            f"search.study={search.study}: its trials have other {' and '.join(different)} than this one "
            f"({summary['data']}); use the same dataset, or type search.study=NAME for a new study"
        )


def train_composed(search: Search, folder: Path, overrides: Sequence[str], trial: Any = None) -> dict[str, Any]:
    """Trains a run as the train command does, with its log file, without its progress; returns its summary.

    Args:
        search: whose config files are used.
        folder: of the run.
        overrides: of the run.
        trial: as of `train`.
    """
    from fmnist_lightning.training.run import train

    add_to_path(config_dirs_of(search.config_dir))
    overrides = [*overrides, *search.silent]
    with Composer(search.config_dir) as composer:
        cfg = composer.compose(overrides)
        set_hydra_config(cfg, str(folder))
        configure_log(cfg.hydra.job_logging)
        return train(without_hydra(cfg), folder, overrides, varied=list(search.space), trial=trial)
