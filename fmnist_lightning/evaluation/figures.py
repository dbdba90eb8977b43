"""The figures, as PNG bytes: the study's confusion matrix and curves, and the worst mistakes."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fmnist_lightning.evaluation.axes import epoch_axis, measure_axis

TEXT, GROUND, GRID = "#1c2128", "#ffffff", "#d8dee4"
TRAIN, VAL = "#e0852b", "#3b82f6"  # orange and blue: distinguishable with colour blindness
LEGEND = {"train": "training (dropout on, mean over the epoch)", "val": "validation"}
UNIT = {"accuracy": "accuracy", "loss": "loss (cross-entropy)"}
NOTE = "#d1242f"
DPI = 110
GRAY = colormaps["gray"].resampled(256)  # a matplotlibrc's image.lut changes the size of the colormaps


class Plotter:
    """Draws in one style.

    Args:
        note: shown below each figure, such as that the images are not Fashion-MNIST; none for "" and None.
    """

    def __init__(self, note: str | None = None) -> None:
        self.note = note
        grounds = ("figure.facecolor", "axes.facecolor", "savefig.facecolor")
        texts = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
        self.style: dict[Any, Any] = {
            **dict.fromkeys(grounds, GROUND),
            **dict.fromkeys(texts, TEXT),
            "grid.color": GRID,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "font.size": 10,
        }
        self.shades = colormaps["Blues"].resampled(256)

    def defaults(self) -> AbstractContextManager[None]:
        """Applies Matplotlib's defaults and this style within the context, without the user's matplotlibrc."""
        return style.context(self.style, after_reset=True)

    def confusion_matrix(self, counts: Sequence[Sequence[float]], class_names: Sequence[str]) -> bytes:
        """Counts, and below each its % of the row (the images of that class), which also determines its colour."""
        matrix = np.asarray(counts)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        with self.defaults():
            figure = Figure(figsize=(8.2, 7.6), layout="constrained")
            axes = figure.subplots()
            image = axes.imshow(shares, cmap=self.shades, vmin=0, vmax=1)
            for (row, column), share in np.ndenumerate(shares):
                red, green, blue, _ = image.cmap(share)
                dark_cell = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5  # luma, ITU-R BT.601
                text = f"{matrix[row, column]:.4g}\n{share:.1%}" if matrix[row, column] else "0"
                colour = "#ffffff" if dark_cell else TEXT
                axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour, in_layout=False)
            axes.set_xticks(range(len(class_names)), class_names, rotation=40, ha="right")
            axes.set_yticks(range(len(class_names)), class_names)
            axes.set(
                xlabel="predicted",
                ylabel="true",
                title="Confusion matrix: counts and % of each true class",
            )
            figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the true class")
            return self.to_png(figure)

    def curve(self, rows: Sequence[dict[str, float]], measure: str, best_epoch: int, choice: str) -> bytes:
        """`measure` (accuracy or loss) of training and validation by epoch; best_epoch is marked with its criterion."""
        epochs = [row["epoch"] for row in rows]
        with self.defaults():
            figure = Figure(figsize=(6.4, 4.2), layout="constrained")
            axes: Axes = figure.subplots()
            lines = {stage: [row[f"{stage}/{measure}"] for row in rows] for stage in LEGEND}
            for (stage, values), colour in zip(lines.items(), (TRAIN, VAL), strict=True):
                axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, label=LEGEND[stage], clip_on=False)
            axes.axvline(best_epoch, color=TEXT, linewidth=1, linestyle=":", label=f"epoch {best_epoch}: {choice}")
            axes.set(xlabel="epoch", ylabel=UNIT[measure], title=f"{measure.capitalize()} by epoch")
            x, y = epoch_axis(epochs), measure_axis([*lines["train"], *lines["val"]], measure)
            axes.set(xlim=(x.low, x.high), xticks=x.ticks, ylim=(y.low, y.high), yticks=y.ticks)
            axes.grid(alpha=0.6)
            axes.legend(frameon=False)
            return self.to_png(figure)

    def mistakes(
        self,
        images: Tensor,
        indices: Tensor,
        labels: Tensor,
        probabilities: Tensor,
        class_names: Sequence[str],
    ) -> bytes:
        """A grid of test images with their index, true class, predicted class and its probability."""
        columns = 6
        num_rows = max(1, -(-len(indices) // columns))
        side, width, height = images.shape[-1], 1.06 * images.shape[-1], 1.4 * images.shape[-1]
        with self.defaults():
            figure = Figure(figsize=(columns * 1.55, 0.35 + num_rows * 2.0), layout="constrained")
            axes: Axes = figure.subplots()  # a single one: one per image takes three times as long to lay out
            for i, index in enumerate(indices.tolist()):
                left, top = i % columns * width, i // columns * height
                probability, predicted = probabilities[index].max(dim=0)
                place = (left, left + side, top + side, top)
                axes.imshow(images[index].numpy(), cmap=GRAY, vmin=0, vmax=255, extent=place)
                true, wrong = class_names[int(labels[index])], class_names[int(predicted)]
                text = f"#{index} {true}\npredicted as\n{wrong} {probability:.0%}"
                axes.text(left + side / 2, top - 1, text, ha="center", va="bottom", fontsize=7.5, in_layout=False)
            axes.set(xlim=(0, columns * width), ylim=(num_rows * height - 0.4 * side, -0.4 * side))
            axes.set_axis_off()
            figure.suptitle("Worst mistakes: lowest probability of the true class")
            return self.to_png(figure)

    def to_png(self, figure: Figure) -> bytes:
        """The PNG, with the note; reproducible, without the version of Matplotlib in its metadata."""
        if self.note:
            figure.supxlabel(self.note, fontsize=9, color=NOTE, wrap=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        figure.clear()  # breaks reference cycles, which Python collects too rarely: megabytes per figure
        return buffer.getvalue()
