"""The report of one run: report.html, the figures and the classification report, by file name."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from torch import Tensor

from fmnist_lightning.evaluation.choice import name_choice
from fmnist_lightning.evaluation.figures import Plotter
from fmnist_lightning.evaluation.scores import confused_pairs, report_text, worst_mistakes

FIGURES = ("confusion_matrix", "accuracy", "loss", "mistakes")


def build_report(
    summary: Mapping[str, Any],
    epochs: Sequence[dict[str, float]],
    predictions: tuple[Tensor, Tensor],
    images: Tensor,
    class_names: Sequence[str],
) -> dict[str, str | bytes]:
    """Makes every file of the report.

    Args:
        summary: the run's.
        epochs: a row per epoch: epoch, train/loss, train/accuracy, val/loss, val/accuracy.
        predictions: labels (N,) and probabilities (N, 10) of the test images.
        images: the test images (N, 28, 28) uint8.
        class_names: by label.

    Returns:
        Contents by name; report.html is self-contained.
    """
    labels, probabilities = predictions
    light, dark = (
        _draw(Plotter(dark, summary["data_note"]), summary, epochs, labels, probabilities, images, class_names)
        for dark in (False, True)
    )
    page = (
        templates("fmnist_lightning.evaluation")
        .get_template("report.html.j2")
        .render(
            summary=summary,
            choice=name_choice(summary["monitored"]),
            epochs=epochs,
            pairs=confused_pairs(summary["test"]["confusion_matrix"], num=8),
            names=class_names,
            pictures={name: (data_url(light[name]), data_url(dark[name])) for name in FIGURES},
        )
    )
    return {
        "report.html": page,
        "classification_report.txt": report_text(labels, probabilities.argmax(dim=1), class_names),
        **{f"{name}.png": light[name] for name in FIGURES},
    }


def templates(*packages: str) -> Environment:
    """The page templates of some packages; undefined names are errors, and values are escaped."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ".") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


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
