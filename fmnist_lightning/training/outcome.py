"""Prints how a run ended: its scores, what limits their validity, where the report is, and what to do next."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.run import Run


def print_outcome(summary: dict[str, Any], folder: Path, options: Sequence[str] = ()) -> None:
    """Prints a run's outcome; the last line is its directory.

    Args:
        summary: of the run, as `train` returns it.
        folder: the run directory.
        options: with which other commands find the run's config files, such as --config-dir.
    """
    from fmnist_lightning.data import FashionMNISTData
    from fmnist_lightning.evaluation.choice import name_choice
    from fmnist_lightning.evaluation.terminal import print_scores

    test, monitored = summary.get("test"), summary.get("monitored")
    if test and monitored:
        print_scores(test, FashionMNISTData.class_names)
        print(
            f"test accuracy {test['accuracy']:.4f} at epoch {summary['best_epoch']} of {summary['epochs']}: "
            f"the {name_choice(monitored)}, {monitored['value']:.4f}"
        )
    if summary["status"] == "interrupted":
        scored = "its best epoch so far is reported" if test else "nothing is reported yet"
        print(f"interrupted: {scored}")
    if summary["partial"]:
        scored = "its scores are not comparable with those of a full run" if test else "nothing was scored"
        print(f"*** partial run ({summary['partial']}): {scored} ***")
    if summary["data_note"]:
        print(f"*** {summary['data_note']}: the scores say nothing about it ***")
    print("\n".join(["", *_next_steps(summary, Run(folder), options)]))
    if summary["status"] == "failed":
        print(f"error: {summary['error']}", file=sys.stderr)
    print(f"run: {folder}", flush=True)


def _next_steps(summary: dict[str, Any], run: Run, options: Sequence[str]) -> list[str]:
    """The report, and commands to paste: each on a line of its own, which a terminal may wrap but copies whole."""
    folder = relative_path(run.folder)

    def command(module: str, *arguments: str) -> str:
        return shlex.join([_python(), "-m", module, *arguments])

    lines = []
    if summary["status"] == "interrupted":
        lines.append(f"resume: {command('fmnist_lightning', *options, f'resume={folder}')}")
    if "test" in summary:
        lines.append(f"report: {relative_path(run.report_html)}")
        lines.append(f"evaluate: {command('fmnist_lightning.evaluate', *options, f'run={folder}')}")
    if any(run.folder.glob("events.out.tfevents.*")):
        lines.append(f"TensorBoard: {command('tensorboard.main', '--logdir', str(folder))}")
    return lines


def _python() -> str:
    """The name by which a shell finds this interpreter."""
    is_active = Path(shutil.which("python") or "").parent == Path(sys.executable).parent
    return "python" if is_active else str(relative_path(sys.executable))
