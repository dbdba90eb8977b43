"""The content of recipes.json: each run, and mean, standard deviation and interval of each recipe."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from fmnist_lightning.evaluation.statistics import describe
from fmnist_lightning.execution.manifest import read_measurements
from fmnist_lightning.leaderboard.plan import PlannedRun, plan_teachers
from fmnist_lightning.runs.run import Run

Result = dict[str, Any]

QUICK_NOTE = "QUICK size: two epochs on a tenth of the images; not the leaderboard"
# what runs that are compared have in common
SAME = ("data", "data_note", "data_sha256", "split", "split_sha256", "device", "versions", "code_sha256")


def collect(runs: Mapping[PlannedRun, Run], names: Sequence[str], size: str) -> Result:
    """All results.

    Args:
        runs: the completed ones, teachers among them.
        names: of the recipes that are reported.
        size: full or quick.

    Raises:
        ValueError: a run was trained on other images, by other code or on another device than the others.
    """
    summaries = {planned: run.read_summary() for planned, run in runs.items()}
    described = [
        describe_run(planned, summaries[planned], run) for planned, run in runs.items() if planned.recipe in names
    ]
    recipes = {}
    for name in names:
        if own := [run for run in described if run["recipe"] == name]:
            teachers = [summaries[teacher] for teacher in plan_teachers(name, size)]
            recipes[name] = describe_recipe(name, own, teachers)
    return {
        "size": size,
        "note": QUICK_NOTE if size == "quick" else None,
        "environment": environment(runs, summaries),
        "recipes": recipes,
        "runs": described,
    }


def describe_run(planned: PlannedRun, summary: Result, run: Run) -> Result:
    """One run; flip: scores with flip averaging."""
    return {
        "recipe": planned.recipe,
        "seed": planned.seed,
        "directory": run.folder.name,
        "val": summary["val"],
        "test": {measure: summary["test"][measure] for measure in ("loss", "accuracy")},
        "flip": read_measurements(run)["measured"],
        **{key: summary[key] for key in ("epochs", "best_epoch", "fit_seconds", "parameters", "model", "precision")},
    }


def describe_recipe(name: str, runs: Sequence[Result], teachers: Sequence[Result]) -> Result:
    """One recipe over its seeds: n, mean, std and Student's 95 % interval of the mean of each measure.

    Args:
        name: of the recipe.
        runs: as `describe_run` returns them.
        teachers: the summaries of the runs that it is distilled from.
    """
    taught = round(sum(summary["fit_seconds"] for summary in teachers), 2)
    seconds = [run["fit_seconds"] for run in runs]
    return {
        "command": f"python -m fmnist_lightning experiment={name}"
        + (" 'callbacks.distillation.teachers=[DIR,...]'" if teachers else ""),
        "seeds": [run["seed"] for run in runs],
        **{key: runs[0][key] for key in ("model", "parameters", "precision")},
        "epochs": [run["epochs"] for run in runs],
        "accuracy": describe([run["test"]["accuracy"] for run in runs]),
        "flip_accuracy": describe([run["flip"]["test"]["accuracy"] for run in runs]),
        "loss": describe([run["test"]["loss"] for run in runs]),
        "val_accuracy": describe([run["val"]["accuracy"] for run in runs]),
        "val_loss": describe([run["val"]["loss"] for run in runs]),
        "fit_seconds": describe(seconds),
        "teachers": {"num": len(teachers), "fit_seconds": taught} if teachers else None,
        "seconds_with_teachers": round(mean(seconds) + taught, 2),
    }


def environment(runs: Mapping[PlannedRun, Run], summaries: Mapping[PlannedRun, Result]) -> Result:
    """Where the numbers come from.

    Raises:
        ValueError: a run differs from the first one in what all have in common.
    """
    first = next(iter(summaries.values()))
    for planned, summary in summaries.items():
        for fact in SAME:
            if summary[fact] != first[fact]:
                raise ValueError(f"{runs[planned].folder}: {fact} differs from the other runs; remove it to repeat it")
    return {
        **{fact: first[fact] for fact in SAME},
        "openmp": first["openmp"],
        "git_commits": sorted({each["git_commit"] or "not from a checkout" for each in summaries.values()}),
        "git_dirty": any(each["git_dirty"] for each in summaries.values()),
    }
