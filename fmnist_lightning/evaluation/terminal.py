"""The scores of a run in the terminal: the classification report and the most confused pairs, in 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_lightning.evaluation.scores import confused_pairs


def print_scores(scores: Mapping[str, Any], class_names: Sequence[str]) -> None:
    """Prints two tables as plain text, which every terminal and log file shows alike.

    Args:
        scores: as `evaluation.score` returns them.
        class_names: by label.
    """
    total = sum(row["support"] for row in scores["per_class"])
    print(f"\nClassification report, {total:,} test images")
    print(f"{'class':<14} precision     recall         F1    support")
    for row in scores["per_class"]:
        print(_row(row["name"], row, row["support"]))
    print(f"{'accuracy':<14}{'':21} {scores['accuracy']:>10.4f} {total:>10}")
    for average in ("macro", "weighted"):
        print(_row(f"{average} avg", scores[average], total))

    print("\nMost confused classes")
    print(f"{'true class':<14} {'predicted as':<14} {'images':>8} {'% of class':>12}")
    for true, predicted, count in confused_pairs(scores["confusion_matrix"]):
        share = count / scores["per_class"][true]["support"]
        print(f"{class_names[true]:<14} {class_names[predicted]:<14} {count:>8} {share:>12.1%}")
    print()


def _row(name: str, scores: Mapping[str, float], support: int) -> str:
    numbers = " ".join(f"{scores[measure]:>10.4f}" for measure in ("precision", "recall", "f1"))
    return f"{name:<14}{numbers} {support:>10}"
