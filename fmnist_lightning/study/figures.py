"""The figures of the reproduction: each over all seeds, in the two colour schemes of a run's report."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from fmnist_lightning.evaluation.figures import GRAY, LEGEND, TRAIN, UNIT, VAL, Plotter
from fmnist_lightning.study.images import NUM_SHOWN, Confused, Duplicate, Wrong
from fmnist_lightning.study.plan import FRACTIONS, Variant
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.reported import MODELS

_COLOUR = {"ann": TRAIN, "cnn": VAL}


class StudyPlotter(Plotter):
    """Draws what many runs show together, in one colour scheme."""

    def overview(self, models: dict[str, Any]) -> bytes:
        """F1 of each class and the accuracy, reported and reproduced."""
        with self.defaults():
            figure = Figure(figsize=(9.2, 4.4), layout="constrained")
            for axes, (model, result) in zip(figure.subplots(1, 2, sharey=True), models.items(), strict=True):
                rows = [(row["name"], row["f1"]) for row in result["per_class"]] + [("accuracy", result["accuracy"])]
                at = range(len(rows))
                means = [value["mean"] for _, value in rows]
                intervals = [value["one_more"] or [value["mean"]] * 2 for _, value in rows]
                axes.hlines(at, *zip(*intervals, strict=True), color=_COLOUR[model], linewidth=5, alpha=0.35)
                axes.plot(
                    means,
                    at,
                    "o",
                    color=_COLOUR[model],
                    label=f"{model.upper()}, mean of {_seeds(result['n'])} (bar: prediction interval)",
                )
                reported = [value["printed"] for _, value in rows]
                axes.plot(
                    reported,
                    at,
                    "|",
                    color=self.text,
                    markersize=14,
                    markeredgewidth=1.8,
                    label="the study" if model == MODELS[-1] else None,
                )
                axes.set_yticks(at, [name for name, _ in rows])
                axes.set(xlabel="F1 (last row: accuracy)", title=model.upper())
                axes.grid(axis="x", alpha=0.6)
            figure.legend(frameon=False, loc="outside lower center", ncols=3)
            axes.invert_yaxis()
            return self.to_png(figure)

    def curves(self, runs: dict[int, Record], model: str, measure: str) -> bytes:
        """`measure` by epoch: mean and range over the seeds; a mark for each run that early stopping ended."""
        with self.defaults():
            figure = Figure(figsize=(6.4, 4.2), layout="constrained")
            axes: Axes = figure.subplots()
            for stage, colour in (("train", TRAIN), ("val", VAL)):
                lines = [[row[f"{stage}/{measure}"] for row in run.epochs] for run in runs.values()]
                _band(axes, lines, colour, LEGEND[stage])
            stops = [
                (run.epochs[-1]["epoch"], run.epochs[-1][f"val/{measure}"])
                for run in runs.values()
                if run.stopped_early
            ]
            if stops:
                axes.plot(*zip(*stops, strict=True), "x", color=self.text, label="ended by early stopping")
            chosen = [run.summary["best_epoch"] for run in runs.values()]
            values = [run.epochs[epoch - 1][f"val/{measure}"] for run, epoch in zip(runs.values(), chosen, strict=True)]
            axes.plot(chosen, values, "o", color=self.text, markersize=4, fillstyle="none", label="best epoch")
            axes.set(xlabel="epoch", ylabel=UNIT[measure])
            axes.set_title(f"{model.upper()}: {measure} by epoch, mean and range of {_seeds(len(runs))}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.6)
            axes.legend(frameon=False)
            return self.to_png(figure)

    def training_sizes(self, records: Records) -> bytes:
        """Test accuracy against the number of training images: mean and range over the seeds."""
        with self.defaults():
            figure = Figure(figsize=(6.4, 4.2), layout="constrained")
            axes: Axes = figure.subplots()
            for model in MODELS:
                variants = [records[Variant(model, train_fraction=fraction)] for fraction in (*FRACTIONS, 1.0)]
                seeds = sorted(set.intersection(*(set(runs) for runs in variants)))
                images = [runs[seeds[0]].summary["split"]["train"] for runs in variants]
                values = np.array([[runs[seed].accuracy for seed in seeds] for runs in variants])
                colour = _COLOUR[model]
                axes.plot(images, values.mean(axis=1), color=colour, marker="o", label=model.upper())
                axes.fill_between(images, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.25, lw=0)
            axes.set_xscale("log", base=2)
            axes.set_xticks(images, [f"{num:,}" for num in images])
            axes.set(xlabel="training images", ylabel="test accuracy")
            axes.set_title(f"Training-set size, mean and range of {_seeds(len(seeds))}")
            axes.grid(alpha=0.6)
            axes.legend(frameon=False)
            return self.to_png(figure)

    def ablation(self, records: Records, model: str) -> bytes:
        """Validation loss by epoch of the four networks with and without dropout and batch normalization."""
        with self.defaults():
            figure = Figure(figsize=(6.4, 4.2), layout="constrained")
            axes: Axes = figure.subplots()
            for batch_norm, colour in ((True, VAL), (False, TRAIN)):
                for dropout, style in ((True, "-"), (False, "--")):
                    runs = records[Variant(model, dropout, batch_norm)]
                    without = records[Variant(model, dropout=False, batch_norm=False)]
                    lines = [[row["val/loss"] for row in runs[seed].epochs] for seed in sorted(runs.keys() & without)]
                    label = f"{'dropout' if dropout else 'no dropout'}, {'BN' if batch_norm else 'no BN'}"
                    _band(axes, lines, colour, label, style)
            axes.set(xlabel="epoch", ylabel="validation " + UNIT["loss"])
            axes.set_title(f"{model.upper()}: ablation, mean and range of {_seeds(len(lines))}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.6)
            axes.legend(frameon=False)
            return self.to_png(figure)

    def confused(self, images: Tensor, pairs: Sequence[Confused], class_names: Sequence[str]) -> bytes:
        """A row of test images for each pair of classes."""
        columns = max(len(pair.indices) for pair in pairs)
        with self.defaults():
            figure = Figure(figsize=(columns * 1.25 + 1.6, len(pairs) * 1.35), layout="constrained")
            grid = figure.subplots(len(pairs), columns, squeeze=False)
            for row, pair in zip(grid, pairs, strict=True):
                for axes in row:
                    _hide_frame(axes)
                for axes, index in zip(row, pair.indices, strict=False):
                    axes.imshow(images[index].numpy(), cmap=GRAY, vmin=0, vmax=255)
                    axes.set_xlabel(f"#{index}", fontsize=7)
                names = f"{class_names[pair.true]}\npredicted as\n{class_names[pair.predicted_as]}"
                label = f"{names}\n{pair.num_images:.0f} images"
                row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
            return self.to_png(figure)

    def always_wrong(self, images: Tensor, wrong: Sequence[Wrong], class_names: Sequence[str]) -> bytes:
        """A grid of test images with their labels and the prediction of most runs."""

        def draw(axes: Axes, i: int) -> None:
            image, label, predicted_as, votes = wrong[i]
            axes.imshow(images[image].numpy(), cmap=GRAY, vmin=0, vmax=255)
            axes.set_title(
                f"#{image} {class_names[label]}\n{votes} runs say\n{class_names[predicted_as]}", fontsize=7.5
            )

        return self._grid(min(len(wrong), NUM_SHOWN), draw)

    def duplicates(self, test: Tensor, train: Tensor, pairs: Sequence[Duplicate], class_names: Sequence[str]) -> bytes:
        """Test images, each next to its nearest training image."""

        def draw(axes: Axes, i: int) -> None:
            pair = pairs[i]
            both = np.concatenate([test[pair.image].numpy(), train[pair.train_image].numpy()], axis=1)
            axes.imshow(both, cmap=GRAY, vmin=0, vmax=255)
            axes.axvline(27.5, color="#888888", linewidth=0.8)
            names = dict.fromkeys((class_names[pair.label], class_names[pair.train_label]))
            axes.set_title(f"#{pair.image}, {pair.distance:.3f}\n{' / '.join(names)}", fontsize=7.5)

        return self._grid(min(len(pairs), NUM_SHOWN), draw)

    def _grid(self, num: int, draw: Callable[[Axes, int], None]) -> bytes:
        columns = 6
        num_rows = max(1, -(-num // columns))
        with self.defaults():
            figure = Figure(figsize=(columns * 1.55, num_rows * 1.9), layout="constrained")
            for i, axes in enumerate(figure.subplots(num_rows, columns, squeeze=False).ravel()):
                axes.set_axis_off()
                if i < num:
                    draw(axes, i)
            return self.to_png(figure)


def _band(axes: Axes, lines: Sequence[Sequence[float]], colour: str, label: str, style: str = "-") -> None:
    """Mean and range of curves of different lengths, at each epoch of those that reach it."""
    by_epoch: list[Any] = [
        [line[i] for line in lines if i < len(line)] for i in range(max(len(line) for line in lines))
    ]
    epochs = range(1, len(by_epoch) + 1)
    axes.plot(epochs, [np.mean(values) for values in by_epoch], style, color=colour, label=label)
    low, high = ([edge(values) for values in by_epoch] for edge in (min, max))
    axes.fill_between(epochs, low, high, color=colour, alpha=0.25, lw=0)


def _hide_frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _seeds(num: int) -> str:
    return f"{num} seed{'s' * (num > 1)}"
