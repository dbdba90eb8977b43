"""Accuracy against seconds of training: a point with its interval for each recipe, and the paper's accuracies."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from fmnist_lightning.evaluation.figures import GROUND, NOTE, TEXT, TRAIN, VAL, Plotter
from fmnist_lightning.leaderboard.labels import LabelPlacer
from fmnist_lightning.leaderboard.plan import PAPER
from fmnist_lightning.leaderboard.table import notes

COLOUR = {"ann": TRAIN, "cnn": VAL}
OTHER = "#57606a"  # a network that is neither
REPORTED = {"ann": 0.88, "cnn": 0.92}  # by the paper
Recipes = dict[str, Any]


def draw(results: dict[str, Any]) -> bytes:
    """The figure of recipes.json, a PNG that is readable at a width of 800 pixels."""
    plotter = Plotter()
    recipes = results["recipes"]
    with plotter.defaults():
        figure = Figure(figsize=(7.3, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Axes = figure.subplots()
        for name, recipe in recipes.items():
            _draw_point(axes, name, recipe)
        for model, accuracy in REPORTED.items():
            axes.axhline(accuracy, color=COLOUR[model], linewidth=1, linestyle="--", zorder=1)
        _scale_axes(axes, recipes)
        num = sorted({min(n), max(n)}) if (n := [recipe["accuracy"]["n"] for recipe in recipes.values()]) else []
        axes.set_ylabel(f"test accuracy, mean of {'-'.join(map(str, num))} seeds, 95 % interval")
        axes.set_xlabel(f"seconds of training, {results['environment']['device']}")
        place: dict[str, Any] = {"loc": "outside lower center", "ncols": 4, "columnspacing": 1.2, "handletextpad": 0.4}
        figure.legend(handles=list(_legend(recipes)), frameon=False, fontsize=9, **place)
        axes.grid(alpha=0.6)
        figure.suptitle("; ".join(notes(results)), fontsize=9, color=NOTE)
        _draw_labels(axes, recipes)
        return plotter.to_png(figure)


def _draw_point(axes: Axes, name: str, recipe: Recipes) -> None:
    mean, colour = recipe["accuracy"]["mean"], COLOUR.get(recipe["model"], OTHER)
    low, high = recipe["accuracy"]["interval"] or (mean, mean)
    marker: dict[str, Any] = {"markerfacecolor": GROUND if name in PAPER else colour, "markersize": 7, "capsize": 3}
    seconds = recipe["fit_seconds"]["mean"]
    axes.errorbar(seconds, mean, [[mean - low], [high - mean]], fmt="o", color=colour, zorder=3, **marker)
    if recipe["teachers"]:
        axes.plot([seconds, recipe["seconds_with_teachers"]], [mean, mean], "|:", color=colour, linewidth=1)


def _legend(recipes: Recipes) -> Iterator[Line2D]:
    parameters = {recipe["model"]: recipe["parameters"] for recipe in recipes.values()}
    for model, num in parameters.items():
        label = f"{model.upper()}, {num / 1000:,.0f}k parameters"
        yield Line2D([], [], marker="o", linestyle="", color=COLOUR.get(model, OTHER), label=label)
    if set(PAPER) & recipes.keys():
        label = "the paper's recipe"
        yield Line2D([], [], marker="o", linestyle="", color=OTHER, markerfacecolor=GROUND, label=label)
    if any(recipe["teachers"] for recipe in recipes.values()):
        yield Line2D([], [], marker="|", linestyle=":", color=OTHER, label="including teachers")


def _scale_axes(axes: Axes, recipes: Recipes) -> None:
    times = [t for each in recipes.values() for t in (each["fit_seconds"]["mean"], each["seconds_with_teachers"])]
    axes.set_xscale("log")
    axes.set_xlim(min(times) / 1.7, max(times) * 1.7)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)


def _draw_labels(axes: Axes, recipes: Recipes) -> None:
    """Names each point, and the paper's accuracies, where nothing else is."""
    placer = LabelPlacer(axes)
    for accuracy in REPORTED.values():
        placer.occupy((axes.get_xlim()[0], accuracy), (axes.get_xlim()[1], accuracy))
    for recipe in recipes.values():
        mean, seconds = recipe["accuracy"]["mean"], recipe["fit_seconds"]["mean"]
        low, high = recipe["accuracy"]["interval"] or (mean, mean)
        placer.occupy((seconds, mean), (seconds, mean), margin=5)
        placer.occupy((seconds, low), (seconds, high), margin=3)
        placer.occupy((seconds, mean), (recipe["seconds_with_teachers"], mean))
    for name, recipe in recipes.items():
        placer.beside(name, (recipe["fit_seconds"]["mean"], recipe["accuracy"]["mean"]), TEXT)
    for model, accuracy in REPORTED.items():
        placer.along(f"the paper reports {accuracy:.2f} ({model.upper()})", accuracy, COLOUR[model])
