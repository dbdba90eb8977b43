"""The table of a sweep as CSV and Markdown: a row per job, and mean and standard deviation if the seed varies."""

import csv
import html
import io
from collections.abc import Sequence

from fmnist_lightning.runs.ranking import best, order, ranked_settings, warnings_of
from fmnist_lightning.runs.settings import Row, Setting, overridden_keys

SCORES = ("val_loss", "val_accuracy", "test_accuracy", "best_epoch", "epochs", "seconds")
AVERAGED = ("value", "val_loss", "val_accuracy", "test_accuracy")


def to_csv(rows: Sequence[Row]) -> str:
    """sweep.csv; mean and std of a job's setting are on its line."""
    keys, settings = overridden_keys(rows), ranked_settings(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ["monitored", "value", *SCORES, "data_note", "partial", "folder", "error"]
    averages = ["completed_seeds", *(f"{_public(name)}_{what}" for name in AVERAGED for what in ("mean", "std"))]
    writer.writerow(["job", "status", *keys, *map(_public, names), "warnings", *(averages if settings else [])])
    warnings = "; ".join(warnings_of(rows))
    for row in rows:
        overrides = [row["overrides"].get(key, "") for key in keys]
        line = [row["job"], row["status"], *overrides, *(row[name] for name in names), warnings]
        for setting in settings:
            if any(each is row for each in setting.rows):
                line += [len(setting.completed)]
                line += [number for name in AVERAGED for number in setting.mean_std(name) or (None, None)]
        writer.writerow(line)
    return text.getvalue()


def _public(name: str) -> str:
    return "monitored_value" if name == "value" else name


def to_markdown(rows: Sequence[Row]) -> str:
    """sweep.md."""
    keys, best_row = overridden_keys(rows), best(rows)
    header = ["", "job", "status", *keys, *(name.replace("_", " ") for name in SCORES), "error"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        overrides = [row["overrides"].get(key, "") for key in keys]
        scores = [format_score(name, row[name]) for name in SCORES]
        lines.append(["best" if row is best_row else "", row["job"], status_of(row), *overrides, *scores, row["error"]])
    warnings = "".join(f"**{html.escape(warning)}.** " for warning in warnings_of(rows))
    text = f"{warnings}Ordered by {order(rows)}; test scores do not affect the order.\n\n{_table(lines)}\n"
    if settings := ranked_settings(rows):
        keys = overridden_keys([{"overrides": setting.overrides} for setting in settings])
        names = [name for name in AVERAGED if name != "value" or not rows[0]["monitored"].startswith("val/")]
        header = [*keys, "n", *(_public(name).replace("_", " ") for name in names)]
        lines = [header, ["---"] * len(header)]
        for setting in settings:
            overrides = [setting.overrides.get(key, "") for key in keys]
            lines.append([*overrides, count(setting), *(format_mean(setting, name) for name in names)])
        text += f"\nMean ± standard deviation over the n completed seeds, by mean {order(rows)}:\n\n{_table(lines)}\n"
    return text


def _table(lines: Sequence[Sequence[str]]) -> str:
    cells = [[html.escape(cell).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def status_of(row: Row) -> str:
    """The status, which names a run on a part of the data."""
    return f"{row['status']} on part of the data" if row["partial"] and row["val_loss"] is not None else row["status"]


def format_score(name: str, value: float | None) -> str:
    """Four digits for a loss or an accuracy; empty if the job has none."""
    if value is None:
        return ""
    return str(value) if name in ("best_epoch", "epochs", "seconds") else f"{value:.4f}"


def count(setting: Setting) -> str:
    """The number of completed seeds, and of all if some are not."""
    done, total = len(setting.completed), len(setting.rows)
    return str(done) if done == total else f"{done} of {total}"


def format_mean(setting: Setting, name: str) -> str:
    """Mean ± standard deviation, the mean alone if there is one seed."""
    mean, std = setting.mean_std(name) or (None, None)
    return format_score(name, mean) if std is None else f"{mean:.4f} ± {std:.4f}"
