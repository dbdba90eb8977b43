"""The scores of a run in the terminal: the classification report and the most confused pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from fmnist_lightning.evaluation.scores import confused_pairs


def print_scores(scores: Mapping[str, Any], class_names: Sequence[str], console: Console) -> None:
    """Prints two tables.

    Args:
        scores: as `evaluation.score` returns them.
        class_names: by label.
        console: where to.
    """
    table = Table(title="Classification report, test images", title_justify="left")
    table.add_column("class")
    for column in ("precision", "recall", "F1", "support"):
        table.add_column(column, justify="right")
    for row in scores["per_class"]:
        table.add_row(row["name"], *_four_digits(row), str(row["support"]))
    total = str(sum(row["support"] for row in scores["per_class"]))
    table.add_section()
    table.add_row("accuracy", "", "", f"{scores['accuracy']:.4f}", total)
    for average in ("macro", "weighted"):
        table.add_row(f"{average} avg", *_four_digits(scores[average]), total)
    console.print(table)

    table = Table(title="Most confused", title_justify="left")
    for column, justify in (
        ("true class", "left"),
        ("predicted as", "left"),
        ("images", "right"),
        ("share", "right"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for true, predicted, count in confused_pairs(scores["confusion_matrix"]):
        share = count / scores["per_class"][true]["support"]
        table.add_row(class_names[true], class_names[predicted], str(count), f"{share:.1%}")
    console.print(table)


def _four_digits(row: Mapping[str, float]) -> list[str]:
    return [f"{row[measure]:.4f}" for measure in ("precision", "recall", "f1")]
