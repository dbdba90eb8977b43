"""The page of a comparison: one self-contained file."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from fmnist_lightning.evaluation.comparison import (
    ComparedRun,
    Comparison,
    format_p,
    macro_f1,
    mean_std,
    only_correct,
    per_class,
)
from fmnist_lightning.evaluation.figures import UNIT, Plotter
from fmnist_lightning.evaluation.report import data_url, templates

NUM_SHOWN = 12  # images of each kind
COLOURS = ("#3b82f6", "#e0852b", "#159f78", "#c2569b", "#8b6fd6", "#a3941c")  # visible on both backgrounds
MARKERS = "os^DvPX*"


class Shown(NamedTuple):
    """A test image, numbered in the official order, that one of two runs misclassifies."""

    number: int
    true: str
    predictions: list[str]  # of the reference and of the run
    picture: str | None  # a data URL


class CurvePlotter(Plotter):
    """Draws the curves of several runs, in one colour scheme."""

    def curves(self, runs: Sequence[ComparedRun], measure: str) -> bytes:
        """Validation loss or accuracy by epoch, a line per run; a ring marks the epoch that was tested."""
        with self.defaults():
            figure = Figure(figsize=(4.6, 3.6), layout="constrained")
            axes: Axes = figure.subplots()
            for i, run in enumerate(runs):
                if not run.epochs:
                    continue
                epochs, values = ([row[column] for row in run.epochs] for column in ("epoch", f"val/{measure}"))
                colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
                axes.plot(epochs, values, color=colour, marker=marker, markersize=4, label=run.name)
                best = [pair for pair in zip(epochs, values, strict=True) if pair[0] == run.summary.get("best_epoch")]
                axes.plot(
                    *zip(*best, strict=True), "o", color=colour, markersize=10, fillstyle="none"
                ) if best else None
            axes.set(xlabel="epoch", ylabel=f"validation {UNIT[measure]}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.6)
            axes.legend(frameon=False, ncols=1 + len(runs) // 7)
            return self.to_png(figure)


def build_page(comparison: Comparison, images: Tensor | None, command: str) -> str:
    """The page.

    Args:
        comparison: of the runs.
        images: the test images (N, 28, 28) uint8; None if they are not available.
        command: that makes the page again.
    """
    notes = [note for run in comparison.runs if (note := run.summary.get("data_note"))]
    plotters = [CurvePlotter(dark, notes[0] if notes else None) for dark in (False, True)]
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
            curves={m: [data_url(plotter.curves(comparison.runs, m)) for plotter in plotters] for m in UNIT},
            per_class=per_class(comparison.reference, comparison.tested, comparison.class_names),
            pairs=[_pair(comparison, run, images) for run in comparison.tested],
        )
    )


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
                None if images is None else _picture(images[index]),
            )
            for index in only_correct(right, wrong, NUM_SHOWN)
        ]
    return {"run": run, "difference": comparison.differences[run.name], "shown": found}


def _prediction(run: ComparedRun, index: int, class_names: Sequence[str]) -> str:
    probability, label = run.probabilities[index].max(dim=0)
    return f"{run.name}: {class_names[int(label)]} {probability:.0%}"


def _picture(image: Tensor) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image.numpy()).save(buffer, "PNG", optimize=True)
    return data_url(buffer.getvalue())
