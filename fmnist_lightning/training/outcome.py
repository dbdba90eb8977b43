"""Prints how a run ended: its scores, what limits their validity, and where the report is."""

import sys
from pathlib import Path
from typing import Any

from fmnist_lightning.runs.run import Run


def print_outcome(summary: dict[str, Any], folder: Path) -> None:
    """Prints a run's outcome; the last line is its directory.

    Args:
        summary: of the run, as `train` returns it.
        folder: the run directory.
    """
    from rich.console import Console

    from fmnist_lightning.data import FashionMNISTData
    from fmnist_lightning.evaluation.choice import name_choice
    from fmnist_lightning.evaluation.terminal import print_scores

    test, monitored = summary.get("test"), summary.get("monitored")
    if test and monitored:
        print_scores(test, FashionMNISTData.class_names, Console(highlight=False))
        print(
            f"test accuracy {test['accuracy']:.4f} at epoch {summary['best_epoch']} of {summary['epochs']}, "
            f"chosen by the {name_choice(monitored)}: {monitored['value']:.4f}"
        )
    if summary["status"] == "interrupted":
        scored = "its best epoch so far is reported" if test else "nothing is reported yet"
        print(f"interrupted: {scored}; resume it with resume={folder}")
    if summary["partial"]:
        scored = "its scores are not comparable with those of a full run" if test else "nothing was scored"
        print(f"*** partial run ({summary['partial']}): {scored} ***")
    if summary["data_note"]:
        print(f"*** {summary['data_note']}: these scores say nothing about Fashion-MNIST ***")
    if test:
        print(f"report: {Run(folder).report_html}")
    if summary["status"] == "failed":
        print(f"error: {summary['error']}", file=sys.stderr)
    print(f"run: {folder}", flush=True)
