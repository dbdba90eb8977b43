"""A worker: trains one trial after the other until the study has all of them. Several may work on a study."""

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.tuning.results import write_table
from fmnist_lightning.tuning.retries import counted, queue_again, retry_killed
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.storage import explained, open_study
from fmnist_lightning.tuning.table import Table
from fmnist_lightning.tuning.trial import OtherDataError, run_trial

WAIT_SECONDS = 1.0  # between looks at the trials of other workers
MAX_FAILURES = 5  # of the first trials, after which something other than the hyperparameters is wrong
SEEDS_PER_SEARCH = 10_000  # so that searches with the seeds 0 and 1 do not sample the same first values


def work(search: Search) -> None:
    """Trains trials until the study has `search.num_trials`, and prints each; waits for those of other workers.

    Raises:
        ValueError: the storage cannot be reached, the first trials all failed, or the images are not the study's.
    """
    study, table = open_study(search), Table(search)
    study.pruner = make_pruner(search)
    waited = False
    with explained(search):
        while (number := _next_trial(study, search)) is not None:
            if number < 0:
                if not waited:
                    print("waiting for the trials of other processes", flush=True)
                waited = True
                time.sleep(WAIT_SECONDS)
                continue
            trial, trials = study.get_trials(deepcopy=False)[number], counted(study)
            print(table.row(trial, trials), flush=True)
            write_table(search, study)
            ended = [each.state for each in trials if each.state.is_finished()]
            if len(ended) >= MAX_FAILURES and set(ended) == {TrialState.FAIL}:
                raise ValueError(f"all of the first {len(ended)} trials failed: {trial.user_attrs.get('error')}")
            gc.collect()  # a run's objects form reference cycles
            trim_heap()


def _next_trial(study: optuna.Study, search: Search) -> int | None:
    """Trains one trial; its number, -1 if only trials of other workers are left, None if there are none."""
    lock = search.lock()
    lock.acquire()
    try:
        retry_killed(study, search)
        trials = counted(study)
        states = [trial.state for trial in trials]
        if TrialState.WAITING not in states and len(trials) >= search.num_trials:
            return -1 if TrialState.RUNNING in states else None
        return _train(study, search, lock.release)
    finally:
        lock.release(force=True)


def _train(study: optuna.Study, search: Search, started: Callable[[], None]) -> int:
    """Trains one trial; `started` is called once other workers can see that it is running, and with what."""
    number, other_data = -1, None

    def objective(trial: optuna.Trial) -> float:
        nonlocal number, other_data
        number = trial.number
        study.sampler = make_sampler(search, number)
        run = search.run(number)
        locked.enter_context(run.locked())
        trial.set_user_attr("directory", str(run.folder))
        params = {key: parameter.suggest(trial, key) for key, parameter in search.space.items()}
        started()
        try:
            return run_trial(search, trial, params)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("error", format_error(error))
            other_data = error if isinstance(error, OtherDataError) else None
            raise

    with ExitStack() as locked:  # the run, until the study has the result: an unlocked one is that of a killed worker
        try:
            study.optimize(objective, n_trials=1, catch=(Exception,))
        except Exception:  # of the storage; or another worker took this one for killed, and repeats its trial
            if number < 0 or not study.get_trials(deepcopy=False)[number].state.is_finished():
                raise
        except BaseException:  # Ctrl-C, or a signal
            trial = study.get_trials(deepcopy=False)[number] if number >= 0 else None
            if trial and trial.state in (TrialState.RUNNING, TrialState.FAIL):
                queue_again(study, trial)
            raise
    if other_data:
        queue_again(study, study.get_trials(deepcopy=False)[number])  # for a worker that has the study's images
        raise other_data
    return number


def make_sampler(search: Search, number: int) -> BaseSampler:
    """The sampler of a trial. Its seed depends on the trial's number: a search that resumes does not repeat values."""
    return TPESampler(seed=(SEEDS_PER_SEARCH * search.seed + number) % 2**32, constant_liar=True)


def make_pruner(search: Search) -> BasePruner:
    """The pruner of search.pruner."""
    if search.pruner == "median":
        return MedianPruner(n_startup_trials=5, n_warmup_steps=2)  # not after epoch 1
    if search.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=search.max_epochs, reduction_factor=3)
    return NopPruner()
