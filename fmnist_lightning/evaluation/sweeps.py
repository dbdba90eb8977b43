"""The figure of a sweep: validation loss and accuracy against the swept keys."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from fmnist_lightning.evaluation.figures import Plotter
from fmnist_lightning.evaluation.svg import to_svg

MEASURES = {"val_loss": "validation loss (nats)", "val_accuracy": "validation accuracy"}
LOG_SCALE_RATIO = 8.0  # highest / lowest value from which an axis is logarithmic
PAGE_SIZE = (4.8, 3.6)  # inches: text has the size of the page's on a phone
MAX_NAMES, MAX_LENGTH = 12, 50  # lines with a name in the legend and a shaded range; characters of a name
MAX_TICKS, MAX_TICK_LENGTH = 20, 20  # along the x axis; characters of a value there and in a name
ON_LIGHT, ON_DARK = "#101418", "#fefefe"  # text of a heat map's cell: no colours of svg.VARIABLES, which a page changes
Row = Mapping[str, Any]


def draw_sweep(rows: Sequence[Row], swept_keys: Sequence[str], warnings: Sequence[str] = ()) -> bytes | None:
    """Draws a sweep.

    Two swept numbers and nothing else make a heat map. Otherwise the first swept number (else the first swept key) is
    the x axis, and each setting of the others a line: mean and range over the seeds.

    Args:
        rows: with `overrides` (values as typed, by key), `val_loss` and `val_accuracy`.
        swept_keys: whose value differs between rows.
        warnings: shown below the figure.

    Returns:
        A PNG; None if nothing was swept or no job has scores.
    """
    plotter = Plotter(note="\n".join(warnings))
    if (drawn := _Drawn.of(rows, swept_keys)) is None:
        return None
    with plotter.defaults():
        figure = Figure(figsize=(10.5, 4.4), layout="constrained")
        for axes, measure in zip(figure.subplots(1, 2), MEASURES, strict=True):
            _panel(axes, drawn, measure, plotter.shades)
        return plotter.to_png(figure)


def sweep_charts(rows: Sequence[Row], swept_keys: Sequence[str]) -> list[Markup]:
    """The same for a page: an SVG for each measure; arguments as for `draw_sweep`."""
    plotter, charts = Plotter(), []
    if (drawn := _Drawn.of(rows, swept_keys)) is None:
        return []
    with plotter.defaults():
        for measure, title in MEASURES.items():
            figure = Figure(figsize=PAGE_SIZE, layout="constrained")
            _panel(figure.subplots(), drawn, measure, plotter.shades)
            charts.append(to_svg(figure, f"{title} by {', '.join(drawn.keys)}; the values are in the table below"))
    return charts


class _Drawn(NamedTuple):
    rows: list[Row]  # with scores
    keys: list[str]  # without the seed, if others were swept
    numbers: list[str]  # the keys whose values are numbers

    @classmethod
    def of(cls, rows: Sequence[Row], swept_keys: Sequence[str]) -> Self | None:
        """None if there is nothing to draw."""
        scored = [row for row in rows if row["val_loss"] is not None]
        keys = [key for key in swept_keys if key != "seed"] or list(swept_keys)
        return cls(scored, keys, [key for key in keys if _are_numbers(scored, key)]) if scored and keys else None


def _panel(axes: Axes, drawn: _Drawn, measure: str, shades: Colormap) -> None:
    rows, keys, numbers = drawn
    if len(keys) == 2 and len(numbers) == 2:
        _heat_map(axes, rows, keys, measure, shades)
        axes.set_title(MEASURES[measure])
    else:
        x = (numbers or keys)[0]
        _lines(axes, rows, x, [key for key in keys if key != x], measure, numeric=bool(numbers))
        axes.set_ylabel(MEASURES[measure])
        axes.grid(alpha=0.6)


def _are_numbers(rows: Sequence[Row], key: str) -> bool:
    try:
        [float(row["overrides"][key]) for row in rows]
    except (KeyError, ValueError):
        return False
    return True


def _by_setting(rows: Sequence[Row], keys: Sequence[str], measure: str) -> dict[tuple[str, ...], list[float]]:
    """The measure's values, one per seed, by the typed values of keys."""
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        values.setdefault(tuple(row["overrides"].get(key, "") for key in keys), []).append(row[measure])
    return values


def _lines(axes: Axes, rows: Sequence[Row], x: str, others: Sequence[str], measure: str, numeric: bool) -> None:
    by_setting = _by_setting(rows, [x, *others], measure)
    order: dict[Any, Any] = {}
    for at, *_ in sorted(by_setting, key=lambda setting: float(setting[0]) if numeric else 0.0):
        order.setdefault(at, float(at) if numeric else len(order))
    lines = list(dict.fromkeys(setting[1:] for setting in by_setting))
    for line in lines:
        points = [(order[at], by_setting[at, *line]) for at in order if (at, *line) in by_setting]
        places = [place for place, _ in points]
        label = ", ".join(f"{key}={_short(value)}" for key, value in zip(others, line, strict=True))
        drawn = axes.plot(places, [np.mean(values) for _, values in points], "o-", label=label or None)
        if len(lines) <= MAX_NAMES:
            low, high = ([float(edge(values)) for _, values in points] for edge in (min, max))
            axes.fill_between(places, low, high, color=drawn[0].get_color(), alpha=0.2, lw=0)
    if numeric and min(order.values()) > 0 and max(order.values()) / min(order.values()) >= LOG_SCALE_RATIO:
        axes.set_xscale("log")
    step = math.ceil(len(order) / MAX_TICKS)
    ticks = [_short(name) for name in list(order)[::step]]
    slant: dict[str, Any] = {"rotation": 30, "ha": "right"} if len("".join(ticks)) > MAX_LENGTH else {}
    axes.set_xticks(list(order.values())[::step], ticks, minor=False, **slant)
    axes.minorticks_off()
    axes.set_xlabel(x)
    names = [str(drawn.get_label()) for drawn in axes.lines]
    if 1 < len(lines) <= MAX_NAMES and max(map(len, names)) <= MAX_LENGTH:
        axes.legend(frameon=False, fontsize=8)


def _short(value: str) -> str:
    half = MAX_TICK_LENGTH // 2 - 1
    return value if len(value) <= MAX_TICK_LENGTH else f"{value[:half]}…{value[-half:]}"


def _heat_map(axes: Axes, rows: Sequence[Row], keys: Sequence[str], measure: str, shades: Colormap) -> None:
    values = _by_setting(rows, keys, measure)
    columns, lines = (sorted({setting[i] for setting in values}, key=float) for i in (0, 1))
    grid = np.full((len(lines), len(columns)), np.nan)
    for (column, line), found in values.items():
        grid[lines.index(line), columns.index(column)] = np.mean(found)
    image = axes.imshow(grid, cmap=shades, aspect="auto", origin="lower")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (line_at, column_at), value in np.ndenumerate(grid):
        if not np.isnan(value):
            colour = ON_DARK if value > middle else ON_LIGHT
            axes.text(column_at, line_at, f"{value:.4f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(lines)), lines)
    axes.set(xlabel=keys[0], ylabel=keys[1])
    axes.figure.colorbar(image, ax=axes)
