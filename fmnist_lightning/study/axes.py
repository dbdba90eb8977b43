"""Parts that several figures have: axes, curves by epoch with their range, a fitted power law."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_lightning.evaluation.figures import TRAIN, UNIT, VAL

Result = dict[str, Any]

_STAGES = (("train", "training", TRAIN, "--"), ("val", "validation", VAL, "-"))


def make_axes(height: float = 3.7) -> Axes:
    """Of a figure as wide as a phone; the height is in inches."""
    axes: Axes = Figure(figsize=(4.9, height), layout="constrained").subplots()
    axes.grid(alpha=0.6)
    return axes


def epoch_axes(runs: Sequence[Result], measure: str) -> Axes:
    """`measure` (accuracy or loss) of training and validation by epoch."""
    axes = make_axes()
    for stage, label, colour, style in _STAGES:
        draw_band(axes, runs, f"{stage}/{measure}", colour, label, style)
    axes.set(xlabel="epoch", ylabel=UNIT[measure])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axes


def point_at(run: Result, measure: str, epoch: int) -> tuple[int, float]:
    """The validation curve of a run at an epoch, starting at 1."""
    return epoch, run["history"][f"val/{measure}"][epoch - 1]


def draw_law(axes: Axes, law: Result, largest: int, colour: str, label: str) -> None:
    """The fitted curve with its interval; dashed beyond the largest measured size."""
    for beyond, style in ((False, "-"), (True, "--")):
        points = [p for p in law["curve"] if (p["images"] >= largest if beyond else p["images"] <= largest)]
        images = [point["images"] for point in points]
        axes.plot(images, [point["accuracy"] for point in points], style, color=colour, label="_" if beyond else label)
        low, high = ([point["interval"][edge] for point in points] for edge in (0, 1))
        axes.fill_between(images, low, high, color=colour, alpha=0.2, lw=0)


def draw_band(axes: Axes, runs: Sequence[Result], key: str, colour: str, label: str, style: str) -> None:
    """Mean and range of the runs' curves, at each epoch of those that reach it."""
    lines = [run["history"][key] for run in runs]
    by_epoch = [[line[i] for line in lines if i < len(line)] for i in range(max(map(len, lines)))]
    epochs = range(1, len(by_epoch) + 1)
    axes.plot(epochs, [np.mean(values) for values in by_epoch], style, color=colour, label=label)
    low, high = ([edge(values) for values in by_epoch] for edge in (min, max))
    axes.fill_between(epochs, low, high, color=colour, alpha=0.25, lw=0)
