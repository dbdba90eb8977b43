"""The report of one run: report.html, the figures and the classification report, by file name."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from torch import Tensor

from fmnist_lightning.evaluation.charts import curve, matrix_rows, mistakes, reliability
from fmnist_lightning.evaluation.choice import name_choice
from fmnist_lightning.evaluation.figures import Plotter
from fmnist_lightning.evaluation.origin import Origin, class_of, describe_hyperparameters, format_seconds
from fmnist_lightning.evaluation.scores import (
    CALIBRATION_BINS,
    calibration_bins,
    confused_pairs,
    report_text,
    worst_mistakes,
)

NUM_PAIRS = 15  # as high as the confusion matrix next to them


def build_report(
    summary: Mapping[str, Any],
    epochs: Sequence[dict[str, float]],
    predictions: tuple[Tensor, Tensor],
    images: Tensor,
    class_names: Sequence[str],
    origin: Origin,
    saliency: Tensor,
) -> dict[str, str | bytes]:
    """Makes every file of the report.

    Args:
        summary: the run's.
        epochs: a row per epoch: epoch, train/loss, train/accuracy, val/loss, val/accuracy.
        predictions: labels (N,) and probabilities (N, 10) of the test images.
        images: the test images (N, 28, 28) uint8.
        class_names: by label.
        origin: how the run was made.
        saliency: the worst mistakes under their saliency maps, RGB (M, 28, 28, 3) uint8.

    Returns:
        Contents by name; report.html is self-contained.
    """
    labels, probabilities = predictions
    page = (
        templates("fmnist_lightning.evaluation")
        .get_template("report.html.j2")
        .render(
            summary=summary,
            model=class_of(origin.config.model),
            optimizer=class_of(origin.config.optimizer),
            choice=name_choice(summary["monitored"]),
            epochs=epochs,
            charts_of={measure: curve(epochs, measure, summary["best_epoch"]) for measure in ("accuracy", "loss")},
            calibration=reliability(calibration_bins(labels, probabilities)),
            matrix=matrix_rows(summary["test"]["confusion_matrix"]),
            pairs=confused_pairs(summary["test"]["confusion_matrix"], num=NUM_PAIRS),
            mistakes=mistakes(images, labels, probabilities, class_names, saliency),
            num_mistakes=int((probabilities.argmax(dim=1) != labels).sum()),
            num_bins=CALIBRATION_BINS,
            chance_loss=math.log(len(class_names)),
            names=class_names,
            origin=origin,
            hyperparameters=describe_hyperparameters(origin.config),
        )
    )
    pictures = _draw(Plotter(note=summary["data_note"]), summary, epochs, labels, probabilities, images, class_names)
    return {
        "report.html": page,
        "classification_report.txt": report_text(labels, probabilities.argmax(dim=1), class_names),
        **{f"{name}.png": picture for name, picture in pictures.items()},
    }


def templates(*packages: str) -> Environment:
    """The page templates of some packages; undefined names are errors, and values are escaped."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_url": data_url, "seconds": format_seconds}
    return environment


def data_url(png: bytes) -> str:
    """A figure as a data URL, for a self-contained page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _draw(
    plotter: Plotter,
    summary: Mapping[str, Any],
    epochs: Sequence[dict[str, float]],
    labels: Tensor,
    probabilities: Tensor,
    images: Tensor,
    class_names: Sequence[str],
) -> dict[str, bytes]:
    worst, choice = worst_mistakes(labels, probabilities), name_choice(summary["monitored"])
    return {
        "confusion_matrix": plotter.confusion_matrix(summary["test"]["confusion_matrix"], class_names),
        "accuracy": plotter.curve(epochs, "accuracy", summary["best_epoch"], choice),
        "loss": plotter.curve(epochs, "loss", summary["best_epoch"], choice),
        "mistakes": plotter.mistakes(images, worst, labels, probabilities, class_names),
    }
