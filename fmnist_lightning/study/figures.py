"""The figures of the reproduction, drawn from results.json.

README's overview is a PNG. Those of the page are SVG elements as wide as a phone, in the page's font and colours.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_lightning.evaluation.figures import GRID, NOTE, TEXT, TRAIN, UNIT, VAL, Plotter
from fmnist_lightning.study.alt_texts import name_layers
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import select_runs
from fmnist_lightning.study.reported import MODELS

Result = dict[str, Any]

_COLOUR = {"ann": TRAIN, "cnn": VAL}
_CSS = {TRAIN: "var(--train)", VAL: "var(--val)", TEXT: "currentColor", GRID: "var(--line)", NOTE: "var(--bad)"}


class StudyPlotter(Plotter):
    """Draws what many runs show together."""

    def overview(self, models: dict[str, Result]) -> bytes:
        """F1 of each class and the accuracy of both models, reported and reproduced; a PNG."""
        with self.defaults():
            figure = Figure(figsize=(9.2, 4.4), layout="constrained")
            for axes, (model, result) in zip(figure.subplots(1, 2, sharey=True), models.items(), strict=True):
                self._scores(axes, result, model, legend=model == MODELS[-1])
                axes.set_title(model.upper())
            axes.invert_yaxis()
            figure.legend(frameon=False, loc="outside lower center", ncols=4)
            return self.to_png(figure)

    def scores(self, result: Result, model: str) -> str:
        """F1 of each class and the accuracy of one model, reported and reproduced."""
        with self.defaults():
            axes = _axes(height=4.4)
            self._scores(axes, result, model, legend=True)
            axes.invert_yaxis()
            return self._to_svg(axes, f"scores {model}")

    def _scores(self, axes: Axes, result: Result, model: str, legend: bool) -> None:
        rows = [(row["name"], row["f1"]) for row in result["per_class"]] + [("accuracy", result["accuracy"])]
        at = range(len(rows))
        means, reported = ([value[key] for _, value in rows] for key in ("mean", "reported"))
        axes.plot(means, at, "o", color=_COLOUR[model], label=f"{model.upper()}, mean of {_seeds(result['n'])}")
        intervals = [value["prediction_interval"] or [value["mean"]] * 2 for _, value in rows]
        bar: dict[str, Any] = {"color": _COLOUR[model], "linewidth": 5, "alpha": 0.35}
        label = "prediction interval" if legend and result["n"] > 1 else "_"
        axes.hlines(at, *zip(*intervals, strict=True), label=label, **bar)
        mark: dict[str, Any] = {"color": TEXT, "markersize": 14, "markeredgewidth": 1.8}
        axes.plot(reported, at, "|", label="reported" if legend else "_", **mark)
        axes.set_yticks(at, [name for name, _ in rows])
        axes.set_xlabel("F1 (last row: accuracy)")
        axes.grid(visible=False, axis="y")

    def curves(self, runs: Sequence[Result], model: str, measure: str) -> str:
        """`measure` by epoch: mean and range over the seeds; a mark for each run that early stopping ended."""
        with self.defaults():
            axes = _axes()
            for stage, label, colour in (("train", "training", TRAIN), ("val", "validation", VAL)):
                _band(axes, [run["history"][f"{stage}/{measure}"] for run in runs], colour, label)
            validation = [(run, run["history"][f"val/{measure}"]) for run in runs]
            stops = [(run["epochs"], values[-1]) for run, values in validation if run["stopped_early"]]
            if stops:
                axes.plot(*zip(*stops, strict=True), "x", color=TEXT, label="ended by early stopping")
            best = [(run["best_epoch"], values[run["best_epoch"] - 1]) for run, values in validation]
            mark: dict[str, Any] = {"color": TEXT, "markersize": 4, "fillstyle": "none"}
            axes.plot(*zip(*best, strict=True), "o", label="best epoch", **mark)
            axes.set(xlabel="epoch", ylabel=UNIT[measure])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            return self._to_svg(axes, f"{measure} {model}")

    def training_sizes(self, sizes: dict[str, list[Result]]) -> str:
        """Test accuracy against the number of training images: mean and range over the seeds."""
        with self.defaults():
            axes = _axes()
            for model, rows in sizes.items():
                images, colour = [row["images"] for row in rows], _COLOUR[model]
                values = np.array([row["accuracy"]["values"] for row in rows])
                axes.plot(images, values.mean(axis=1), color=colour, marker="o", label=model.upper())
                axes.fill_between(images, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.25, lw=0)
            axes.set_xscale("log", base=2)
            axes.set_xticks(images, [f"{num:,}" for num in images])
            axes.set(xlabel="training images (logarithmic scale)", ylabel="test accuracy")
            return self._to_svg(axes, "training sizes")

    def ablation(self, results: Result, model: str) -> str:
        """Validation loss by epoch of the four networks with and without dropout and batch normalization."""
        with self.defaults():
            axes = _axes()
            for batch_norm, colour in ((True, VAL), (False, TRAIN)):
                for dropout, style in ((True, "-"), (False, "--")):
                    seeds = results["ablation"][model]["seeds"]
                    variant = Variant(model, dropout, batch_norm, early_stopping=False)
                    runs = select_runs(results, variant, seeds)
                    lines = [run["history"]["val/loss"] for run in runs]
                    _band(axes, lines, colour, name_layers(dropout, batch_norm), style)
            axes.set(xlabel="epoch", ylabel="validation " + UNIT["loss"])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            return self._to_svg(axes, f"ablation {model}")

    def _to_svg(self, axes: Axes, name: str) -> str:
        """The SVG element, with a legend below the axes and the note; its name is unique on the page."""
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9, columnspacing=1.2)
        if self.note:
            figure.supxlabel(self.note, fontsize=9, color=NOTE, wrap=True)
        file = io.StringIO()
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):  # text, not outlines; ids depend on the name
            figure.savefig(file, format="svg", transparent=True)
        figure.clear()  # breaks reference cycles, as for a PNG
        return _inline(file.getvalue())


def _inline(svg: str) -> str:
    """Matplotlib's file without what is one per page (metadata, styles, ids of groups), with CSS colours and fonts."""
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg aria-hidden="true"', 1)  # the page has an alternative text
    for pattern in (
        "<metadata>.*?</metadata>",
        "<style.*?</style>",
        r"font-family: [^;]*;",
        ' (width|height)="[^"]*pt"',
    ):
        svg = re.sub(pattern, "", svg, flags=re.DOTALL)
    svg = re.sub('<g id="[^"]*">', "<g>", svg)
    for colour, css in _CSS.items():
        svg = svg.replace(colour, css)
    return re.sub(r"\s+", " ", svg)


def _axes(height: float = 3.7) -> Axes:
    axes: Axes = Figure(figsize=(4.9, height), layout="constrained").subplots()
    axes.grid(alpha=0.6)
    return axes


def _band(axes: Axes, lines: Sequence[Sequence[float]], colour: str, label: str, style: str = "-") -> None:
    """Mean and range of curves of different lengths, at each epoch of those that reach it."""
    by_epoch: list[Any] = [
        [line[i] for line in lines if i < len(line)] for i in range(max(len(line) for line in lines))
    ]
    epochs = range(1, len(by_epoch) + 1)
    axes.plot(epochs, [np.mean(values) for values in by_epoch], style, color=colour, label=label)
    low, high = ([edge(values) for values in by_epoch] for edge in (min, max))
    axes.fill_between(epochs, low, high, color=colour, alpha=0.25, lw=0)


def _seeds(num: int) -> str:
    return f"{num} seed{'s' * (num > 1)}"
