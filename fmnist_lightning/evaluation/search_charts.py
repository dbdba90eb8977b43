"""Optuna's own plots of a study as SVG for a page, in its light or dark colours."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
from markupsafe import Markup
from matplotlib import pyplot, style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from fmnist_lightning.evaluation.figures import GRID, GROUND, TEXT, TRAIN, VAL
from fmnist_lightning.evaluation.svg import to_svg

SIZE, WIDE = (4.8, 3.6), (9.0, 4.2)  # inches; SIZE has text of the page's size on a phone
PRUNED = "#8b949e"
SCALE = LinearSegmentedColormap.from_list("search", [VAL, "#9aa5b1", TRAIN])  # visible on a light and a dark ground


def search_charts(study: optuna.Study, metric: str) -> dict[str, list[Markup]]:
    """The plots by heading; those that the trials do not suffice for are left out.

    Args:
        study: with at least one trial that was not pruned and did not fail.
        metric: the name of what it optimizes.
    """
    completed = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    names = list(dict.fromkeys(name for trial in completed for name in trial.params))
    varied = [name for name in names if len({repr(trial.params.get(name)) for trial in completed}) > 1]

    def draw(description: str, plot: Callable[[], Any], size: tuple[float, float] = SIZE) -> Markup:
        with _matplotlib(size):
            figure = plot().figure
            assert isinstance(figure, Figure)
            _restyle(figure)
            return to_svg(figure, description)

    charts = {
        "History": [
            draw(
                f"{metric} of each trial, and the best so far",
                lambda: _history(plots.plot_optimization_history(study, target_name=metric)),
            )
        ],
        "Intermediate values": [
            draw(
                f"{metric} of each trial by epoch, pruned trials in grey",
                lambda: _intermediate(plots.plot_intermediate_values(study), study, metric),
            )
        ],
    }
    if varied and len({trial.value for trial in completed}) > 1:
        charts["Importance"] = [
            draw(
                f"importance of each parameter for {metric}",
                lambda: plots.plot_param_importances(study, params=varied, target_name=metric),
            )
        ]
        charts["Parallel coordinates"] = [
            draw(
                f"parameters and {metric} of each trial as a line",
                lambda: plots.plot_parallel_coordinate(study, params=varied, target_name=metric),
                WIDE,
            )
        ]
    charts["Slices"] = [
        draw(f"{metric} by {name}", partial(plots.plot_slice, study, params=[name], target_name=metric))
        for name in varied
    ]
    return {heading: drawn for heading, drawn in charts.items() if drawn}


@contextmanager
def _matplotlib(size: tuple[float, float]) -> Iterator[None]:
    """Matplotlib without a window, without the user's settings, and without the style sheet that Optuna sets."""
    pyplot.switch_backend("agg")
    settings: dict[Any, Any] = {"figure.figsize": size, "figure.constrained_layout.use": True, "font.size": 10}
    with style.context(settings, after_reset=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the plots are marked as experimental; layouts
        try:
            yield
        finally:
            pyplot.close("all")


def _history(axes: Axes) -> Axes:
    for line in axes.lines:
        line.set(color=TRAIN, alpha=1)
    axes.legend(frameon=False, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axes


def _intermediate(axes: Axes, study: optuna.Study, metric: str) -> Axes:
    """Pruned trials in grey, which end with a cross; the best trial in front."""
    states = {f"Trial{trial.number}": trial.state for trial in study.get_trials(deepcopy=False)}
    for line in axes.lines:
        label = str(line.get_label())
        is_best, is_pruned = label == f"Trial{study.best_trial.number}", states[label] == TrialState.PRUNED
        line.set(color=TRAIN if is_best else PRUNED if is_pruned else VAL, linewidth=2.2 if is_best else 1, marker="")
        line.set(alpha=1 if is_best else 0.6, zorder=3 if is_best else 2)
        if is_pruned:
            line.set(marker="x", markevery=[-1], markersize=5)
        line.set_label({is_best: "best", is_pruned: "pruned"}.get(True, "completed"))
    handles = {str(line.get_label()): line for line in axes.lines}
    axes.set(xlabel="epoch", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(handles.values(), handles.keys(), frameon=False, fontsize=9)
    return axes


def _restyle(figure: Figure) -> None:
    """The colours of the page, and of Optuna's colour maps, of which one end is invisible on a dark ground."""
    figure.set_facecolor(GROUND)
    for axes in figure.axes:
        axes.set_title("")  # the page has headings
        axes.set_title("", loc="left")
        axes.set_facecolor(GROUND)
        axes.tick_params(which="both", colors=TEXT, labelsize=9)
        for spine in axes.spines.values():
            spine.set_color(GRID)
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set(color=TEXT, fontsize=10)
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_color(GRID)
        if legend := axes.get_legend():
            for text in legend.get_texts():
                text.set_color(TEXT)
            legend.set_visible(len(legend.get_texts()) > 1)
        for drawn in axes.collections:
            if drawn.get_array() is not None:
                reverse = drawn.get_cmap().name.endswith("_r")
                drawn.set_cmap(SCALE.reversed() if reverse else SCALE)
