"""A comparison of runs in the terminal: plain text in 80 columns."""

import textwrap
from collections.abc import Iterator

from fmnist_lightning.evaluation.comparison import Comparison, format_p, macro_f1, mean_std

WIDTH = 80


def print_comparison(comparison: Comparison) -> None:
    """Prints the runs with what differs, their scores, the paired differences, and the warnings."""
    for line in _runs(comparison):
        print(line)
    print()
    for line in _scores(comparison):
        print(line)
    if comparison.differences:
        print()
        for line in _differences(comparison):
            print(line)
    if comparison.groups:
        print()
    for group in comparison.groups:
        accuracy = mean_std([run.summary["test"]["accuracy"] for run in group])
        names = ", ".join(run.name for run in group)
        print(_wrapped(f"{names}: test accuracy {accuracy} (mean ± std, n = {len(group)} seeds)"))
    if comparison.explanations:
        print("\n" + _wrapped(" ".join(comparison.explanations)))
    print()
    for warning in comparison.warnings:
        print(_wrapped(f"*** {warning} ***"))


def _runs(comparison: Comparison) -> Iterator[str]:
    """For the reference all that differs between the runs, for the others what differs from the reference."""
    reference = comparison.reference
    first = comparison.runs.index(reference)
    for i, run in enumerate(comparison.runs):
        is_reference = run is reference
        yield f"{run.name}  {_printable(run.folder)}" + (f"  reference: {comparison.reason}" if is_reference else "")
        rows = comparison.settings.items()
        shown = [(key, of[i]) for key, of in rows if of[i] != (None if is_reference else of[first])]
        same = f"the settings of {reference.name}" if comparison.settings else "no setting differs"
        settings = "  ".join(f"{key}={value or 'not set'}" for key, value in shown)
        yield _wrapped(settings or same, "   ")


def _scores(comparison: Comparison) -> Iterator[str]:
    yield f"{'':3}{'val':>10}{'val':>10}{'test':>10}{'macro':>10}"
    names = f"{'loss':>10}{'accuracy':>10}{'accuracy':>10}{'F1':>10}"
    yield f"run{names}{'parameters':>12}{'best epoch':>12}{'seconds':>9}"
    for run in comparison.runs:
        summary = run.summary
        scores = (summary["val"]["loss"], summary["val"]["accuracy"], summary["test"]["accuracy"], macro_f1(run))
        epochs = f"{summary.get('best_epoch')} of {summary.get('epochs')}"
        cost = f"{summary.get('parameters', 0):>12,}{epochs:>12}{summary.get('fit_seconds', 0):>9.1f}"
        yield f"{run.name:3}{''.join(f'{score:>10.4f}' for score in scores)}{cost}"


def _differences(comparison: Comparison) -> Iterator[str]:
    name = comparison.reference.name
    yield f"Test accuracy minus that of {name}, on the same {len(comparison.reference.labels):,} images"
    only = f"only {name} right"
    yield f"run{'difference':>12}{'95 % interval':>22}{'p':>8}{'only this run right':>21}{only:>14}"
    for run, found in comparison.differences.items():
        low, high = found.interval
        interval = f"{low:+.4f} to {high:+.4f}"
        counts = f"{found.only_run:>21}{found.only_reference:>14}"
        yield f"{run:3}{found.estimate:>+12.4f}{interval:>22}{format_p(found.p):>8}{counts}"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        _printable(text),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Without control codes, which a run from elsewhere may contain."""
    return "".join(c if c.isprintable() else "?" for c in text)
