"""The runs that an argument of a command names, if they have been trained and scored."""

from typing import Any

from fmnist_lightning.config.arguments import split_list
from fmnist_lightning.runs.run import Run


def read_scored_runs(typed: str) -> list[Run]:
    """The runs of run=DIR or run=[DIR,DIR2].

    Raises:
        ValueError: a directory contains no finished run, or one without a checkpoint, or is listed twice.
    """
    runs = [Run.existing(folder) for folder in split_list(typed) or [""]]
    for run in runs:
        read_scored_summary(run)
        if not run.best_checkpoint.is_file():
            raise ValueError(f"run={run.folder}: has no checkpoint, {run.best_checkpoint} is missing")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise ValueError(f"run={typed}: a run is listed twice")
    return runs


def read_scored_summary(run: Run, key: str = "run") -> dict[str, Any]:
    """The summary of the run that an argument names; ValueError if it has no scores."""
    summary = run.read_summary()
    if "test" not in summary:
        status = summary["status"]
        hint = f"; resume={run.folder} resumes it" if status in ("running", "interrupted", "failed", "pruned") else ""
        hint = "; the trials of a hyperparameter search are not tested" if status == "completed" else hint
        raise ValueError(f"{key}={run.folder}: has no scores, its status is {status}{hint}")
    return summary
