"""The page of a comparison: one self-contained file."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fmnist_lightning.evaluation.axes import epoch_axis, measure_axis
from fmnist_lightning.evaluation.charts import to_png
from fmnist_lightning.evaluation.comparison import (
    ComparedRun,
    Comparison,
    format_p,
    macro_f1,
    mean_std,
    only_correct,
    per_class,
)
from fmnist_lightning.evaluation.report import templates

NUM_SHOWN = 12  # images of each kind
NUM_COLOURS = 6
DASHES = ("none", "6 3", "2 3", "9 3 2 3", "1 4")  # of the first, second, … run with the same colour
NAME_HEIGHT = 6.0  # % of a plot


class Shown(NamedTuple):
    """A test image, numbered in the official order, that one of two runs misclassifies."""

    number: int
    true: str
    predictions: list[str]  # of the reference and of the run
    picture: bytes | None  # a PNG


def build_page(comparison: Comparison, images: Tensor | None, command: str) -> str:
    """The page.

    Args:
        comparison: of the runs.
        images: the test images (N, 28, 28) uint8; None if they are not available.
        command: that makes the page again.
    """
    return (
        templates("fmnist_lightning.evaluation")
        .get_template("comparison.html.j2")
        .render(
            comparison=comparison,
            command=command,
            has_images=images is not None,
            macro_f1=macro_f1,
            mean_std=mean_std,
            format_p=format_p,
            charts_of={m: chart for m in ("loss", "accuracy") if (chart := curves(comparison.runs, m))},
            per_class=per_class(comparison.reference, comparison.tested, comparison.class_names),
            pairs=[_pair(comparison, run, images) for run in comparison.tested],
        )
    )


def curves(runs: Sequence[ComparedRun], measure: str) -> dict[str, Any] | None:
    """Validation loss or accuracy by epoch, a line per run, in percent of the plot; None if no run has epochs."""
    values = {
        run.name: [(row["epoch"], value) for row in run.epochs if math.isfinite(value := row[f"val/{measure}"])]
        for run in runs
    }
    pairs = [pair for line in values.values() for pair in line]
    if not pairs:
        return None
    x, y = epoch_axis(sorted(epoch for epoch, _ in pairs)), measure_axis([value for _, value in pairs], measure)
    lines = []
    for i, run in enumerate(runs):
        at = {epoch: (x.percent(epoch), round(100 - y.percent(value), 2)) for epoch, value in values[run.name]}
        if at:
            style = {"colour": i % NUM_COLOURS, "dashes": DASHES[i // NUM_COLOURS]}
            best = at.get(run.summary.get("best_epoch", 0))
            lines.append({"name": run.name, "points": list(at.values()), "best": best, **style})
    _place_names(lines)
    course = "; ".join(
        f"{name}: {line[0][1]:.4f} in epoch {line[0][0]:.0f}, {line[-1][1]:.4f} in epoch {line[-1][0]:.0f}"
        for name, line in values.items()
        if line
    )
    return {
        "lines": lines,
        "x_ticks": [(x.percent(tick), f"{tick:.0f}") for tick in x.ticks],
        "y_ticks": [(y.percent(tick), f"{tick:.6g}") for tick in y.ticks],
        "text": f"Validation {measure} by epoch. {course}.",
    }


def _place_names(lines: Sequence[dict[str, Any]]) -> None:
    """Places each line's name next to its end; the names of lines that end in one epoch do not overlap."""
    for left in {line["points"][-1][0] for line in lines}:
        column = [line for line in lines if line["points"][-1][0] == left]
        column.sort(key=lambda line: line["points"][-1][1])
        height, top, bottom = min(NAME_HEIGHT, 100 / len(column)), 0.0, 100.0
        for line in column:
            line["name_at"] = max(line["points"][-1][1], top)
            top = line["name_at"] + height
        for line in reversed(column):
            line["name_at"] = round(min(line["name_at"], bottom), 2)
            bottom = line["name_at"] - height


def _pair(comparison: Comparison, run: ComparedRun, images: Tensor | None) -> dict[str, Any]:
    """The images that only one of the run and the reference classifies correctly."""
    reference, names = comparison.reference, comparison.class_names
    found = {}
    for right, wrong in ((run, reference), (reference, run)):
        found[right.name] = [
            Shown(
                index,
                names[int(run.labels[index])],
                [_prediction(each, index, names) for each in (reference, run)],
                None if images is None else to_png(images[index]),
            )
            for index in only_correct(right, wrong, NUM_SHOWN)
        ]
    return {"run": run, "difference": comparison.differences[run.name], "shown": found}


def _prediction(run: ComparedRun, index: int, class_names: Sequence[str]) -> str:
    probability, label = run.probabilities[index].max(dim=0)
    return f"{run.name}: {class_names[int(label)]} {probability:.0%}"
