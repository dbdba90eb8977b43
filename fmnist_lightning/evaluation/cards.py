"""Confusion matrix and worst mistakes at the size of a card of TensorBoard, about 340 pixels wide."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from fmnist_lightning.evaluation.figures import GRAY, NOTE, TEXT, Plotter
from fmnist_lightning.evaluation.scores import worst_mistakes

SIDE = 6.2  # inches, twice the card's pixels
FONT = 12.5  # points
GRID = (3, 4)  # rows and columns of mistakes


def confusion_card(counts: Sequence[Sequence[int]], class_names: Sequence[str], note: str | None) -> np.ndarray:
    """The % of each true class as RGB pixels (height, width, 3); a cell that rounds to 0 is empty."""
    plotter = Plotter()
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with plotter.defaults():
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap=plotter.shades, vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            if percent := round(100 * share):
                colour = "#ffffff" if percent > 50 else TEXT
                axes.text(column, row, str(percent), ha="center", va="center", fontsize=FONT, color=colour)
        axes.set_xticks(range(len(class_names)), class_names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(class_names)), class_names)
        axes.tick_params(labelsize=FONT, length=0)
        axes.set_xlabel("predicted, in % of the true class", fontsize=FONT)
        axes.set_ylabel("true", fontsize=FONT)
        return _pixels(plotter, figure, note)


def mistakes_card(
    images: Tensor, labels: Tensor, probabilities: Tensor, class_names: Sequence[str], note: str | None
) -> np.ndarray:
    """The worst mistakes with true class, predicted class and its probability as RGB pixels (height, width, 3)."""
    plotter = Plotter()
    worst = worst_mistakes(labels, probabilities, num=GRID[0] * GRID[1])
    with plotter.defaults():
        figure = Figure(figsize=(SIDE, SIDE), layout="constrained")
        grid = figure.subplots(*GRID)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, index in zip(grid.flat, worst.tolist(), strict=False):
            axes.imshow(images[index].numpy(), cmap=GRAY, vmin=0, vmax=255)
            probability, predicted = probabilities[index].max(dim=0)
            true, wrong = class_names[int(labels[index])], class_names[int(predicted)]
            axes.set_title(f"{true}\n→ {wrong}\n{probability:.0%}", fontsize=FONT)
        figure.supxlabel("true class → predicted class, its probability", fontsize=FONT)
        return _pixels(plotter, figure, note)


def _pixels(plotter: Plotter, figure: Figure, note: str | None) -> np.ndarray:
    if note:
        figure.suptitle(note, fontsize=FONT, color=NOTE, wrap=True)
    return np.asarray(Image.open(io.BytesIO(plotter.to_png(figure))).convert("RGB"))
