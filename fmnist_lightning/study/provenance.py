"""Where the numbers come from: device, versions, commits, and what the runs cost."""

from typing import Any

from fmnist_lightning.runs.provenance import git_state
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import Records

Result = dict[str, Any]


def costs(records: Records, size: str, jobs: int) -> Result:
    """Seconds of training, and of whole runs with evaluation and reports; in total, and by what they are for."""
    table: dict[tuple[str, str], list[float]] = {}
    planned = 0.0
    for variant, runs in records.items():
        row = table.setdefault((variant.purpose, variant.model), [0, 0.0, 0.0])
        for seed, record in runs.items():
            # the summary of a run that continues another one has the seconds of both
            before = records[variant.base][seed].summary["fit_seconds"] if variant.base else 0.0
            for i, value in enumerate((1, record.summary["fit_seconds"] - before, record.seconds)):
                row[i] += value
            planned += variant.seconds(size)
    rows: list[Result] = [
        {"purpose": purpose, "model": model, "runs": num, "fit_seconds": round(fit), "run_seconds": round(whole)}
        for (purpose, model), (num, fit, whole) in table.items()
    ]
    totals = {key: sum(row[key] for row in rows) for key in ("runs", "fit_seconds", "run_seconds")}
    return {**totals, "jobs": jobs, "planned_seconds": round(planned), "by_purpose": rows}


def environment(records: Records) -> Result:
    """Where the numbers come from. `problem` says why they are not those of one commit, and what to do."""
    ann, cnn = (next(iter(records[Variant(model)].values())).summary for model in ("ann", "cnn"))
    summaries = [record.summary for runs in records.values() for record in runs.values()]
    origins = [part for summary in summaries for part in (summary, *summary.get("resumed", []))]
    commits = sorted({part["git_commit"] or "not from a checkout" for part in origins})
    dirty = any(part["git_dirty"] for part in origins)
    analysis_commit, analysis_dirty = git_state()
    return {
        "device": cnn["device"],
        "precision": {"ann": ann["precision"], "cnn": cnn["precision"]},
        "versions": cnn["versions"],
        "git_commits": commits,
        "git_dirty": dirty,
        "analysis_commit": analysis_commit,
        "analysis_dirty": analysis_dirty,
        "problem": _problem(commits, dirty),
        **{key: cnn[key] for key in ("code_sha256", "data", "data_note", "data_sha256", "split", "split_sha256")},
    }


def _problem(commits: list[str], dirty: bool) -> str | None:
    """Why results do not belong to one commit; None if they do."""
    reasons = ["there were uncommitted changes"] * dirty
    reasons += [f"the runs are of {len(commits)} commits"] * (len(commits) > 1)
    reasons += ["the code is not a git checkout"] * ("not from a checkout" in commits)
    if not reasons:
        return None
    advice = "to publish results, train all runs from a clean checkout of one commit, in another reproduce.folder"
    return f"The code cannot be named by one commit: {' and '.join(reasons)}; {advice}."
