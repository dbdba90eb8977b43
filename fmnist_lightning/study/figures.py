"""The figures of the reproduction, drawn from results.json: README's overview as PNG, those of the page as SVG.

Lines differ in their style, not in their colour alone: the page is also printed in black and white.
"""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmnist_lightning.evaluation.figures import NOTE, TEXT, TRAIN, UNIT, VAL, Plotter
from fmnist_lightning.evaluation.svg import to_svg
from fmnist_lightning.study import alt_texts
from fmnist_lightning.study.alt_texts import name_layers
from fmnist_lightning.study.axes import draw_band, draw_law, epoch_axes, make_axes, point_at
from fmnist_lightning.study.reported import MODELS

Result = dict[str, Any]

_COLOUR, _MARKER = {"ann": TRAIN, "cnn": VAL}, {"ann": "s", "cnn": "o"}
_VARIABLES = {TRAIN: "--train", VAL: "--val", NOTE: "--bad"}  # of study.css and page.css
_BEST: dict[str, Any] = {"color": TEXT, "markersize": 4, "fillstyle": "none"}


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
            figure.legend(frameon=False, loc="outside upper center", ncols=4)
            return self.to_png(figure)

    def scores(self, result: Result, model: str) -> Markup:
        """F1 of each class and the accuracy of one model, reported and reproduced."""
        with self.defaults():
            axes = make_axes(height=4.4)
            self._scores(axes, result, model, legend=True)
            axes.invert_yaxis()
            return self._finish(axes, alt_texts.scores(result, model))

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

    def curves(self, runs: Sequence[Result], model: str, measure: str) -> Markup:
        """`measure` by epoch: mean and range over the seeds; a mark for each run that early stopping ended."""
        with self.defaults():
            axes = epoch_axes(runs, measure)
            stops = [point_at(run, measure, run["epochs"]) for run in runs if run["stopped_early"]]
            if stops:
                axes.plot(*zip(*stops, strict=True), "x", color=TEXT, label="ended by early stopping")
            best = [point_at(run, measure, run["best_epoch"]) for run in runs]
            axes.plot(*zip(*best, strict=True), "o", label="best epoch", **_BEST)
            return self._finish(axes, alt_texts.curves(runs, model, measure))

    def stopping(self, runs: Sequence[Result], result: Result, model: str) -> Markup:
        """Losses by epoch without early stopping; marks where early stopping selects and ends each run.

        Args:
            runs: without early stopping.
            result: early_stopping of this model in results.json, with the same order of seeds.
            model: its name.
        """
        with self.defaults():
            axes = epoch_axes(runs, "loss")
            selected, last = (list(zip(runs, result[key], strict=True)) for key in ("selected_epoch", "last_epoch"))
            ended = [(run, epoch) for run, epoch in last if epoch < result["max_epochs"]]
            for at, marker, label in ((selected, "o", "selected epoch"), (ended, "x", "ended by early stopping")):
                marks = [point_at(run, "loss", epoch) for run, epoch in at]
                if marks:
                    axes.plot(*zip(*marks, strict=True), marker, label=label, **_BEST)
            return self._finish(axes, alt_texts.stopping(runs, result, model))

    def ablation(self, runs: Sequence[Sequence[Result]], result: Result, model: str) -> Markup:
        """Validation loss by epoch of the four networks with and without dropout and batch normalization.

        Args:
            runs: of each variant.
            result: ablation of this model in results.json, with the same order of variants.
            model: its name.
        """
        with self.defaults():
            axes = make_axes()
            for some, variant, style in zip(runs, result["variants"], ("-", ":", "--", "-."), strict=True):
                name = name_layers(variant["dropout"], variant["batch_norm"])
                draw_band(axes, some, "val/loss", VAL if variant["batch_norm"] else TRAIN, name, style)
            axes.set(xlabel="epoch", ylabel="validation " + UNIT["loss"])
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            return self._finish(axes, alt_texts.ablation(result, model))

    def training_sizes(self, sizes: dict[str, list[Result]], laws: dict[str, Result | None]) -> Markup:
        """Test accuracy against the number of training images, and the power law (null: could not be fitted)."""
        with self.defaults():
            axes, images = make_axes(height=4.2), set()
            for model, rows in sizes.items():
                measured, colour, law = [row["images"] for row in rows], _COLOUR[model], laws[model]
                means = [row["accuracy"]["mean"] for row in rows]
                below = [row["accuracy"]["mean"] - min(row["accuracy"]["values"]) for row in rows]
                above = [max(row["accuracy"]["values"]) - row["accuracy"]["mean"] for row in rows]
                bars: dict[str, Any] = {"fmt": _MARKER[model], "capsize": 3, "label": model.upper()}
                axes.errorbar(measured, means, [below, above], color=colour, linestyle="none" if law else "-", **bars)
                if law:
                    draw_law(axes, law, measured[-1], colour, f"{model.upper()}, power law")
                    images.add(law["doubling"]["images"])
                images.update(measured)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sorted(images), [f"{num:,}" for num in sorted(images)], fontsize=9)
            axes.set(xlabel="training images (logarithmic scale)", ylabel="test accuracy")
            return self._finish(axes, alt_texts.training_sizes(sizes, laws))

    def choices(self, rows: Sequence[Result], model: str) -> Markup:
        """Effect of each alternative to the recipe on the validation accuracy, with its interval."""
        effects = [row["val_accuracy_difference"] for row in rows]
        means = [100 * effect["mean"] for effect in effects]
        with self.defaults():
            axes, at = make_axes(height=1.2 + 0.4 * len(rows)), range(len(rows))
            axes.axvline(0, color=TEXT, linewidth=1)
            edges = [[100 * edge for edge in effect["interval"] or [effect["mean"]] * 2] for effect in effects]
            axes.hlines(
                at, *zip(*edges, strict=True), color=_COLOUR[model], linewidth=5, alpha=0.35, label="95 % interval"
            )
            axes.plot(means, at, _MARKER[model], color=_COLOUR[model], label=f"mean of {_seeds(effects[0]['n'])}")
            axes.set_yticks(at, [row["choice"].rpartition(".")[2] for row in rows])
            axes.set_xlabel("effect on validation accuracy (% points)")
            axes.grid(visible=False, axis="y")
            axes.set_ylim(len(rows) - 0.5, -0.5)
            return self._finish(axes, alt_texts.choices(rows, model))

    def _finish(self, axes: Axes, description: str) -> Markup:
        """The SVG element, with a legend below the axes and the note, and the page's colours."""
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize=9, columnspacing=1.2)
        if self.note:
            figure.suptitle(self.note, fontsize=9, color=NOTE, wrap=True)  # below, it would cover the legend
        svg = to_svg(figure, description)
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, f"var({variable})")
        return svg


def _seeds(num: int) -> str:
    return f"{num} seed{'s' * (num > 1)}"
