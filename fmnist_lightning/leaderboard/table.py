"""The results as text: a table for the terminal, one for docs/leaderboard.md, and the lines in a recipe's header."""

from collections.abc import Sequence
from typing import Any

from fmnist_lightning.leaderboard.plan import TEACHERS

Result = dict[str, Any]

WIDTHS = (13, 10, 15, 13, 10, 1, 6)
TITLES = ("recipe", "validation", "test", "95 % interval", "with flips", "n", "sec.")


def terminal_table(results: Result) -> str:
    """At most 80 columns wide; accuracies, and seconds of training."""
    rows = [TITLES, *(_terminal_row(name, recipe) for name, recipe in results["recipes"].items())]
    lines = [_aligned(row) for row in rows]
    lines += [
        f"{name}: {seconds(recipe['seconds_with_teachers'])} s with the training of its {recipe['teachers']['num']} "
        f"teachers ({TEACHERS[name]})"
        for name, recipe in results["recipes"].items()
        if recipe["teachers"]
    ]
    return "\n".join([*lines, *(f"*** {note} ***" for note in notes(results))])


def _terminal_row(name: str, recipe: Result) -> tuple[str, ...]:
    return (
        name,
        f"{recipe['val_accuracy']['mean']:.4f}",
        mean_std(recipe["accuracy"]),
        interval(recipe["accuracy"], "-"),
        f"{recipe['flip_accuracy']['mean']:.4f}",
        str(recipe["accuracy"]["n"]),
        seconds(recipe["fit_seconds"]["mean"]),
    )


def _aligned(row: Sequence[str]) -> str:
    numbers = (f"{cell:>{width}}" for cell, width in zip(row[1:], WIDTHS[1:], strict=True))
    return "  ".join([f"{row[0]:<{WIDTHS[0]}}", *numbers])


def notes(results: Result) -> list[str]:
    """What restricts all results: the size, and images that are not Fashion-MNIST."""
    return [note for note in (results["note"], results["environment"]["data_note"]) if note]


def markdown_table(results: Result) -> str:
    """The table of docs/leaderboard.md."""
    rows = [
        "| recipe | parameters | epochs | n | validation accuracy | test accuracy | 95 % interval "
        "| with flip averaging | seconds of training |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, recipe in results["recipes"].items():
        epochs = sorted({min(recipe["epochs"]), max(recipe["epochs"])})
        cells = (
            f"`{name}`",
            f"{recipe['parameters']:,}",
            "-".join(map(str, epochs)),
            str(recipe["accuracy"]["n"]),
            mean_std(recipe["val_accuracy"]),
            mean_std(recipe["accuracy"]),
            interval(recipe["accuracy"], " to "),
            mean_std(recipe["flip_accuracy"]),
            _seconds_of(name, recipe),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def header_lines(results: Result, name: str) -> str:
    """The comment in the header of conf/experiment/NAME.yaml that states what the recipe claims."""
    recipe = results["recipes"][name]
    return (
        f"# Measured: test accuracy {mean_std(recipe['accuracy'])} (mean ± std, n = {recipe['accuracy']['n']}, seeds "
        f"{seeds(recipe['seeds'])}), with flip averaging {mean_std(recipe['flip_accuracy'])};\n"
        f"# {_seconds_of(name, recipe, ' s of training')}, {results['environment']['device']}; by make recipes "
        "(docs/leaderboard.md).\n"
    )


def mean_std(described: Result) -> str:
    """An accuracy over the seeds, such as 0.9275 ± 0.0021; a single value has no standard deviation."""
    return f"{described['mean']:.4f}" + ("" if described["std"] is None else f" ± {described['std']:.4f}")


def interval(described: Result, to: str) -> str:
    """The interval, or a dash if there is none."""
    return "-" if described["interval"] is None else to.join(f"{edge:.4f}" for edge in described["interval"])


def seconds(value: float, std: float | None = None) -> str:
    """With a decimal if below 20."""
    digits = 1 if value < 20 else 0
    return f"{value:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def _seconds_of(name: str, recipe: Result, unit: str = "") -> str:
    described = recipe["fit_seconds"]
    total = f" ({seconds(recipe['seconds_with_teachers'])} with {TEACHERS[name]})" if recipe["teachers"] else ""
    return seconds(described["mean"], described["std"]) + unit + total


def seeds(numbers: Sequence[int]) -> str:
    """100-104, or all of them if there are gaps."""
    first, last = min(numbers), max(numbers)
    if len(numbers) > 2 and sorted(numbers) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ", ".join(map(str, sorted(numbers)))
