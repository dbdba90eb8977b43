"""The range and the ticks of an axis, for the page and the PNG files alike."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

MIN_SPAN = 0.1  # of a measure: a single epoch, or a constant one, is drawn in some context


class Axis(NamedTuple):
    """From low to high, with its ticks."""

    low: float
    high: float
    ticks: list[float]

    def percent(self, value: float) -> float:
        """Where a value is between low (0) and high (100)."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def measure_axis(values: Sequence[float], measure: str) -> Axis:
    """The axis of an accuracy, which is at most 1, or of a loss, which is at least 0."""
    low, high = min(values), max(values)
    padding = max(0.0, (MIN_SPAN - (high - low)) / 2)
    low, high = max(0.0, low - padding), high + padding
    if measure == "accuracy":
        high = min(1.0, high)
    ticks = [float(tick) for tick in MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)]
    return Axis(ticks[0], ticks[-1], ticks)


def epoch_axis(epochs: Sequence[float]) -> Axis:
    """From the first to the last epoch; a single one is in the middle."""
    first, last = epochs[0], epochs[-1]
    if first == last:
        return Axis(first - 0.5, first + 0.5, [first])
    ticks = MaxNLocator(nbins=6, integer=True).tick_values(first, last)
    return Axis(first, last, [first, *(float(tick) for tick in ticks if first < tick <= last)])
