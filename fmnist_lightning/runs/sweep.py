"""A sweep's folder: one row per job in sweep.csv, sweep.md and sweep.png, brought up to date after every job.

Rows are ordered by the metric that the jobs monitored (ranking.py). Test scores are shown, and order nothing.
"""

import csv
import html
import io
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.ranking import Row, best, order, rank_of, ranked, warnings_of
from fmnist_lightning.runs.run import SUMMARY, Run

SCORES = ("val_loss", "val_accuracy", "test_accuracy", "best_epoch", "epochs", "seconds")


class Sweep:
    """One sweep's folder.

    Args:
        folder: that holds the jobs' run folders.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def rows(self) -> list[Row]:
        """A row per job that has started, the best first, jobs without scores last."""
        return ranked([_row(path.parent, self.folder) for path in self.folder.rglob(SUMMARY)])

    def update(self) -> None:
        """Writes the three files; of jobs that end at the same time one after the other."""
        from fmnist_lightning.evaluation.sweeps import draw_sweep

        with FileLock(self.folder / ".lock"):
            rows = self.rows()
            if not rows:
                return
            keys = overridden(rows)
            atomic_write(self.folder / "sweep.csv", _as_csv(rows, keys))
            atomic_write(self.folder / "sweep.md", _as_markdown(rows, keys))
            if picture := draw_sweep(rows, swept_keys(rows), warnings_of(rows)):
                atomic_write(self.folder / "sweep.png", picture)

    def show(self, options: Sequence[str] = ()) -> int:
        """Prints the table and the command that repeats the best run.

        Args:
            options: that a run of the same config files needs, such as --config-dir.

        Returns:
            How many jobs were not completed.
        """
        rows = self.rows()
        if not rows:
            return 0  # no job has begun
        keys = swept_keys(rows) or overridden(rows)
        table = Table(title=f"Sweep, by {order(rows)}", title_justify="left")
        for column in ("job", "status", *keys):
            table.add_column(column, justify="left" if column == "status" else "right")
        for column in SCORES:
            table.add_column(column.replace("_", " "), justify="right")
        for row in rows:
            style = "bold" if row is best(rows) else None
            cells = [row["job"], _status(row), *(row["overrides"].get(key, "") for key in keys)]
            table.add_row(*cells, *(_spelled(row, name) for name in SCORES), style=style)
        console = Console(highlight=False)
        console.width = max(console.width, 100 + 12 * len(keys))
        console.print(table)
        for row in rows:
            if row["error"]:
                console.print(f"job {row['job']} {row['status']}: {row['error']}", soft_wrap=True, markup=False)
        for warning in warnings_of(rows):
            print(f"*** {warning} ***")
        if best_row := best(rows):
            print(f"best by {order(rows)}: python -m fmnist_lightning {shlex.join([*options, *best_row['typed']])}")
        print(f"sweep: {self.folder}", flush=True)
        return sum(row["status"] not in ("completed", "partial") for row in rows)


class WatchSweep(Callback):
    """Hydra's callback in the process that starts a sweep: notes its folder, which `${now:…}` fixes only there."""

    folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes the folder."""
        WatchSweep.folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir")))


def is_completed_job(run: Run, cfg: DictConfig, folders: Sequence[Path] = ()) -> bool:
    """Whether a job was completed when the same sweep ran before; if not, it resumes.

    Args:
        run: in the job's directory, with a summary.
        cfg: the job's configuration.
        folders: of the user's own config files.

    Raises:
        ValueError: the directory contains the run of another configuration.
    """
    if config_sha256(run.read_config(folders=folders)) != config_sha256(cfg):
        raise ValueError(
            f"{run.folder}: contains a run of another configuration; not overwritten. Choose another hydra.sweep.dir"
        )
    return run.is_completed()


def overridden(rows: Sequence[Row]) -> list[str]:
    """Every key that a job overrides, in the order in which it was typed."""
    return list(dict.fromkeys(key for row in rows for key in row["overrides"]))


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The keys whose value is not the same in all jobs."""
    return [key for key in overridden(rows) if len({row["overrides"].get(key) for row in rows}) > 1]


def _row(folder: Path, sweep: Path) -> Row:
    run = Run(folder)
    try:
        summary = run.read_summary()
    except (ValueError, OSError) as error:  # half written, or on its way out
        summary = {"status": "damaged", "overrides": [], "error": str(error)}
    name = folder.relative_to(sweep).as_posix()
    number = name.partition("_")[0]
    val, test = summary.get("val", {}), summary.get("test", {})
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
        "error": str(summary.get("error", "")),
    }


def _status(row: Row) -> str:
    return f"{row['status']} on part of the data" if row["partial"] and row["val_loss"] is not None else row["status"]


def _spelled(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return ""
    return f"{value:.4f}" if name in ("val_loss", "val_accuracy", "test_accuracy") else str(value)


def _as_csv(rows: Sequence[Row], keys: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["monitored", "value", *SCORES, "data_note", "partial", "folder", "error"]
    warnings = "; ".join(warnings_of(rows))
    header = ["monitored_value" if name == "value" else name for name in names]
    writer.writerow(["job", "status", *keys, *header, "warnings"])
    for row in rows:
        settings = [row["overrides"].get(key, "") for key in keys]
        writer.writerow([row["job"], row["status"], *settings, *(row[name] for name in names), warnings])
    return text.getvalue()


def _as_markdown(rows: Sequence[Row], keys: Sequence[str]) -> str:
    header = ["", "job", "status", *keys, *(name.replace("_", " ") for name in SCORES), "error"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        mark = "best" if row is best(rows) else ""
        settings = [row["overrides"].get(key, "") for key in keys]
        scores = [_spelled(row, name) for name in SCORES]
        lines.append([mark, row["job"], _status(row), *settings, *scores, row["error"]])
    table = "\n".join(
        f"| {' | '.join(html.escape(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
    warnings = "".join(f"**{html.escape(warning)}.** " for warning in warnings_of(rows))
    return f"{warnings}Ordered by {order(rows)}; test scores are shown and order nothing.\n\n{table}\n"
