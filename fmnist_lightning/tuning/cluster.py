"""Workers as jobs of a Slurm cluster, which submitit submits with the settings of Hydra's launcher."""

import time
from typing import Any

import optuna

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.openmp import set_openmp_variables
from fmnist_lightning.tuning.retries import counted
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.table import Table

POLL_SECONDS = 2.0
# settings that submitit has for every kind of job; the names of the others start with the kind
SHARED = ("nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min", "stderr_to_stdout")


def work_in_jobs(search: Search, study: optuna.Study, table: Table) -> None:
    """Trains trials in `search.jobs` submitted jobs, and prints each trial that ends; Ctrl-C cancels the jobs.

    Raises:
        ValueError: the jobs ended with errors.
    """
    import submitit

    kind = "slurm" if search.launcher["_target_"].endswith(".SlurmLauncher") else "local"
    settings = {
        name if name in SHARED else f"{kind}_{name}": value
        for name, value in search.launcher.items()
        if name != "_target_"
    }
    at_start = {name: settings.pop(name) for name in ("slurm_max_num_timeout",) if name in settings}
    executor = submitit.AutoExecutor(folder=search.folder / ".submitit" / "%j", cluster=kind, **at_start)
    executor.update_parameters(name="search", **settings)
    with executor.batch():  # one array of jobs
        jobs = [executor.submit(_work, search, kind) for _ in range(search.jobs)]
    print(f"{search.jobs} {kind} jobs, output in {search.folder / '.submitit'}", flush=True)
    printed = {trial.number for trial in counted(study) if trial.state.is_finished()}
    try:
        is_running = True
        while is_running:
            is_running = not all(job.done() for job in jobs)
            trials = counted(study)
            for trial in trials:
                if trial.state.is_finished() and trial.number not in printed:
                    printed.add(trial.number)
                    print(table.row(trial, trials), flush=True)
            time.sleep(POLL_SECONDS * is_running)
    except BaseException:
        for job in jobs:
            job.cancel()
        raise
    errors = [error for job in jobs if (error := job.exception()) is not None]
    if len(errors) == len(jobs):
        raise ValueError(f"all jobs failed, the first one: {_last_line(errors[0])}")


def _work(search: Search, kind: str) -> None:
    """What a job runs."""
    set_openmp_variables(search.jobs if kind == "local" else 1)
    from fmnist_lightning.tuning.worker import work

    work(search)


def _last_line(error: Any) -> str:
    return format_error(error).strip().splitlines()[-1]
