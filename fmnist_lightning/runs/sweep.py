"""A sweep's directory: sweep.csv, .md, .html and .png with a row per job, updated after every job.

Rows are ordered by the metric that the jobs monitored (ranking.py). Test scores do not affect the order.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock

from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.runs.ranking import best, order, rank_of, ranked, warnings_of
from fmnist_lightning.runs.run import LOG, SUMMARY, Run
from fmnist_lightning.runs.settings import Row, settings_of, swept_keys
from fmnist_lightning.runs.sweep_page import to_page
from fmnist_lightning.runs.sweep_table import to_csv, to_markdown
from fmnist_lightning.runs.sweep_text import final_table

# from rows, swept keys and the texts of the page to the contents of sweep.html and sweep.png, by name
Render = Callable[[Sequence[Row], Sequence[str], Mapping[str, Any]], dict[str, str | bytes]]


class Sweep:
    """One sweep's directory.

    Args:
        folder: the directory, which contains the jobs' run directories.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def rows(self) -> list[Row]:
        """A row per job that has started, the best first, jobs without scores last."""
        return ranked([_row(path.parent, self.folder) for path in self.folder.rglob(SUMMARY)])

    def update(self, render: Render) -> None:
        """Writes the files; a lock serializes jobs that end at the same time."""
        with FileLock(self.folder / ".lock"):
            rows = self.rows()
            if not rows:
                return
            atomic_write(self.folder / "sweep.csv", to_csv(rows))  # before anything is drawn, which may fail
            atomic_write(self.folder / "sweep.md", to_markdown(rows))
            for name, content in render(rows, swept_keys(rows), to_page(rows, self.folder.resolve().name)).items():
                atomic_write(self.folder / name, content)

    def show(self, options: Sequence[str] = (), num_jobs: int = 0, errors: bool = True) -> int:
        """Prints the table, and the command that repeats the best run.

        Args:
            options: that a run of the same config files needs, such as --config-dir.
            num_jobs: of the sweep, also those that have not started.
            errors: whether to print those of the jobs.

        Returns:
            The number of jobs that were not completed.
        """
        rows = self.rows()
        if not rows:
            return 0  # no job has started
        print("", *final_table(rows), sep="\n")
        for row in rows if errors else ():
            if row["error"]:
                print(f"job {row['job']} {row['status']}: {row['error']}")
        for warning in warnings_of(rows):
            print(f"*** {warning} ***")
        if best_row := best(rows):
            by = f"{'mean ' * bool(settings_of(rows))}{order(rows)}"
            print(f"best by {by}: python -m fmnist_lightning {shlex.join([*options, *best_row['typed']])}")
            print(f"best run: {best_row['folder']}")
        if (page := self.folder / "sweep.html").exists():
            print(f"report: {page}")
        num_completed = sum(row["status"] in ("completed", "partial") for row in rows)
        num_jobs = max(num_jobs, len(rows))
        if num_completed < num_jobs:
            again = f"the same command with hydra.sweep.dir={self.folder} continues the sweep"
            print(f"{num_completed} of {num_jobs} jobs are completed; {again}")
        print(f"sweep: {self.folder}", flush=True)
        return num_jobs - num_completed


def _row(folder: Path, sweep: Path) -> Row:
    run = Run(folder)
    try:
        summary = run.read_summary()
    except (ValueError, OSError) as error:  # damaged, or just being removed
        summary = {"status": "damaged", "overrides": [], "error": str(error)}
    name = folder.relative_to(sweep).as_posix()
    number = name.partition("_")[0]
    val, test = summary.get("val", {}), summary.get("test", {})
    shown = next((path for path in (run.report_html, folder / LOG) if path.is_file()), None)
    return {
        "job": number if number.isdecimal() else name,
        "status": summary["status"],
        **rank_of(summary),
        "typed": summary["overrides"],
        "overrides": dict(typed.split("=", 1) for typed in summary["overrides"] if "=" in typed),
        "val_loss": val.get("loss"),
        "val_accuracy": val.get("accuracy"),
        "test_accuracy": test.get("accuracy"),
        "best_epoch": summary.get("best_epoch"),
        "epochs": summary.get("epochs"),
        "seconds": summary.get("fit_seconds"),
        "folder": str(folder),
        "href": quote(shown.relative_to(sweep).as_posix()) if shown else "",
        "written": run.summary_json.stat().st_mtime if run.summary_json.exists() else 0.0,
        "error": str(summary.get("error", "")),
    }
