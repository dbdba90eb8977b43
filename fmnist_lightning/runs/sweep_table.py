"""The table of a sweep, a row per job: as CSV, as Markdown and for the terminal."""

import csv
import html
import io
from collections.abc import Sequence

from rich.table import Table

from fmnist_lightning.runs.ranking import Row, best, order, warnings_of

SCORES = ("val_loss", "val_accuracy", "test_accuracy", "best_epoch", "epochs", "seconds")


def overridden_keys(rows: Sequence[Row]) -> list[str]:
    """Every key that a job overrides, in the order in which it was typed."""
    return list(dict.fromkeys(key for row in rows for key in row["overrides"]))


def swept_keys(rows: Sequence[Row]) -> list[str]:
    """The keys whose value differs between jobs."""
    return [key for key in overridden_keys(rows) if len({row["overrides"].get(key) for row in rows}) > 1]


def to_csv(rows: Sequence[Row]) -> str:
    """sweep.csv."""
    keys = overridden_keys(rows)
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


def to_markdown(rows: Sequence[Row]) -> str:
    """sweep.md."""
    keys = overridden_keys(rows)
    header = ["", "job", "status", *keys, *(name.replace("_", " ") for name in SCORES), "error"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        mark = "best" if row is best(rows) else ""
        lines.append([mark, *_cells(row, keys), row["error"]])
    table = "\n".join(
        f"| {' | '.join(html.escape(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
    warnings = "".join(f"**{html.escape(warning)}.** " for warning in warnings_of(rows))
    return f"{warnings}Ordered by {order(rows)}; test scores do not affect the order.\n\n{table}\n"


def to_terminal(rows: Sequence[Row], keys: Sequence[str]) -> Table:
    """The table that a sweep prints."""
    table = Table(title=f"Sweep, by {order(rows)}", title_justify="left")
    for column in ("job", "status", *keys):
        table.add_column(column, justify="left" if column == "status" else "right")
    for column in SCORES:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*_cells(row, keys), style="bold" if row is best(rows) else None)
    return table


def _cells(row: Row, keys: Sequence[str]) -> list[str]:
    partial = row["partial"] and row["val_loss"] is not None
    status = f"{row['status']} on part of the data" if partial else row["status"]
    return [row["job"], status, *(row["overrides"].get(key, "") for key in keys), *(_score(row, n) for n in SCORES)]


def _score(row: Row, name: str) -> str:
    value = row[name]
    if value is None:
        return ""
    return f"{value:.4f}" if name in ("val_loss", "val_accuracy", "test_accuracy") else str(value)
