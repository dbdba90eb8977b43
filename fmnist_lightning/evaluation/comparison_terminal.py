"""A comparison of runs in the terminal, within 80 columns."""

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fmnist_lightning.evaluation.comparison import Comparison, format_p, macro_f1, mean_std


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the runs with what differs, their scores, the paired differences, and the warnings.

    Args:
        comparison: of the runs.
        console: where to.
    """
    reference = comparison.reference
    first = comparison.runs.index(reference)
    for i, run in enumerate(comparison.runs):
        mark = f"  reference: {comparison.reason}" if run is reference else ""
        console.print(Text(f"{run.name}  {run.folder}{mark}"), soft_wrap=True)
        # all that differs somewhere for the reference, what differs from it for the others
        rows = comparison.settings.items()
        shown = [(key, of[i]) for key, of in rows if of[i] != (None if run is reference else of[first])]
        same = f"the settings of {reference.name}" if comparison.settings else "no setting differs"
        settings = "  ".join(f"{key}={value or 'not set'}" for key, value in shown) or same
        console.print(Padding(Text(settings), (0, 0, 0, 3), expand=False))
    console.print(_scores(comparison))
    if comparison.differences:
        console.print(_differences(comparison))
    for group in comparison.groups:
        values = mean_std([run.summary["test"]["accuracy"] for run in group])
        names = ", ".join(run.name for run in group)
        console.print(f"{names}: test accuracy {values} (mean ± std, n = {len(group)})")
    console.print(" ".join(comparison.explanations))
    for warning in comparison.warnings:
        console.print(Text(f"*** {warning} ***"))


def _scores(comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run")
    for column in ("val loss", "val accuracy", "test accuracy", "macro F1", "parameters", "best epoch", "seconds"):
        table.add_column(column, justify="right")
    for run in comparison.runs:
        summary = run.summary
        scores = (summary["val"]["loss"], summary["val"]["accuracy"], summary["test"]["accuracy"], macro_f1(run))
        epochs = f"{summary.get('best_epoch')} of {summary.get('epochs')}"
        cost = (f"{summary.get('parameters', 0):,}", epochs, f"{summary.get('fit_seconds', 0):.1f}")
        table.add_row(run.name, *(f"{score:.4f}" for score in scores), *cost)
    return table


def _differences(comparison: Comparison) -> Table:
    reference = comparison.reference
    title = f"Test accuracy minus that of {reference.name}, on the same {len(reference.labels):,} images"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run")
    for column in ("difference", "95 % interval", "p", "only this run right", f"only {reference.name} right"):
        table.add_column(column, justify="right")
    for name, found in comparison.differences.items():
        low, high = found.interval
        counts = (str(found.only_run), str(found.only_reference))
        table.add_row(name, f"{found.estimate:+.4f}", f"{low:+.4f} to {high:+.4f}", format_p(found.p), *counts)
    return table
