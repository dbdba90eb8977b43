"""What differs between runs, and what limits their comparison. Imports no torch."""

from collections.abc import Sequence

from fmnist_lightning.runs.compared import ScoredRun
from fmnist_lightning.runs.ranking import best, rank_of, ranked

RECORDED = {"device": 60, "precision": 60, "git_commit": 10}  # entries of a summary: how many characters are shown


def differences(runs: Sequence[ScoredRun]) -> dict[str, list[str | None]]:
    """The value of each run, by key, for all keys of the configurations that differ; None where a run lacks the key."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    rows = {key: [run.config.get(key) for run in runs] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def recorded_differences(runs: Sequence[ScoredRun]) -> dict[str, list[str | None]]:
    """The same for device, precision and commit, which the summaries record."""
    rows: dict[str, list[str | None]] = {
        key: [str(run.summary[key])[:num] if run.summary.get(key) else None for run in runs]
        for key, num in RECORDED.items()
    }
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def compares(run: ScoredRun, reference: ScoredRun) -> bool:
    """Whether both runs have the same test images and the same validation split."""
    return bool(rank_of(run.summary)["images"] == rank_of(reference.summary)["images"])


def best_run(runs: Sequence[ScoredRun]) -> ScoredRun:
    """The run with the best monitored value, which is a validation or training score.

    Raises:
        ValueError: they cannot be compared by it.
    """
    # without overrides each run is a setting of its own
    rows = [{"job": run.name, "status": run.summary["status"], "overrides": {}, **rank_of(run.summary)} for run in runs]
    row = best(ranked(rows))
    if row is None:
        raise ValueError(
            "reference=best: these runs have different images, validation splits or monitored metrics, or none is "
            "completed; use reference=first"
        )
    return next(run for run in runs if run.name == row["job"])


def limitations(runs: Sequence[ScoredRun], reference: ScoredRun) -> list[str]:
    """A warning for each run on synthetic or other images, for partial and for unfinished runs."""
    found = []
    for note in dict.fromkeys(note for run in runs if (note := run.summary.get("data_note"))):
        names = ", ".join(run.name for run in runs if run.summary.get("data_note") == note)
        found.append(f"{names}: {note}; the scores say nothing about Fashion-MNIST")
    for run in runs:
        if partial := run.summary.get("partial"):
            found.append(f"{run.name} is a partial run ({partial}): its scores do not compare with those of a full run")
        if run.summary["status"] != "completed" and not partial:
            found.append(f"{run.name} is not completed, its status is {run.summary['status']}")
        if not compares(run, reference):
            found.append(
                f"{run.name} has other images or another validation split than {reference.name} (data_sha256, "
                "val_sha256): no difference, interval or test"
            )
    return found


def seed_groups(runs: Sequence[ScoredRun]) -> list[list[ScoredRun]]:
    """Runs whose configurations differ in the seed only, by setting, for settings with several seeds.

    Partial runs, runs on other images than their setting's first run, and further runs of a seed are in no group.
    """
    keys = [key for key in differences(runs) if key != "seed"]
    groups: dict[tuple[str | None, ...], list[ScoredRun]] = {}
    for run in runs:
        group = groups.setdefault(tuple(run.config.get(key) for key in keys), [])
        is_new_seed = run.config["seed"] not in [other.config["seed"] for other in group]
        if is_new_seed and not run.summary.get("partial") and all(compares(run, other) for other in group):
            group.append(run)
    return [group for group in groups.values() if len(group) > 1]
