"""Trials of workers that were killed or interrupted are repeated with the same hyperparameters.

The trial of a killed worker is recognized on a journal file by the lock of its run directory, which the system
releases, and in a database by Optuna's heartbeat.
"""

import optuna
from optuna.storages import RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from fmnist_lightning.runs.run import Run
from fmnist_lightning.tuning.search import Search

MAX_RETRIES = 2  # of a killed worker's trial, which may itself have exhausted the memory


def retry_killed(study: optuna.Study, search: Search) -> None:
    """Queues the trials of killed workers again; call it within the search's lock."""
    fail_stale_trials(study)
    if search.is_database():
        return
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_locked(Run(trial.user_attrs.get("directory", search.run(trial.number).folder))):
            continue
        unlocked = study.get_trials(deepcopy=False)[trial.number]  # it may have ended meanwhile
        if unlocked.state == TrialState.RUNNING:
            queue_again(study, unlocked, MAX_RETRIES)


def _is_locked(run: Run) -> bool:
    if not run.folder.exists():
        return False
    try:
        with run.locked():
            return False
    except ValueError:
        return True


def queue_again(study: optuna.Study, trial: FrozenTrial, max_retries: int | None = None) -> None:
    """Marks an unfinished trial as failed, and queues its hyperparameters again."""
    if trial.state == TrialState.RUNNING:
        study.tell(trial.number, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback(max_retries)(study, study.get_trials()[trial.number])


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials without those that were queued again."""
    trials = study.get_trials(deepcopy=False)
    retried = {number for trial in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(trial)}
    return [trial for trial in trials if trial.number not in retried]
