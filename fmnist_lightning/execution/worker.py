"""What a process of its own does: trains one run after the other, and marks each as completed."""

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.config.openmp import THREAD_VARIABLES
from fmnist_lightning.execution.manifest import verify_manifest, write_manifest, write_measurements
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.training_length import MAX_EPOCHS, PATIENCE, trains_longer

Measure = Callable[[Run, DictConfig], Any]  # what is measured of a completed run in addition to its summary


def is_completed(run: Run) -> bool:
    """Whether the run was completed.

    Raises:
        ValueError: it was, and its files were changed since.
    """
    if not run.manifest.exists():
        return False
    verify_manifest(run)
    return True


def train_and_measure(overrides: list[str], folder: Path, measure: Measure, base: Path | None = None) -> None:
    """One run, in a process of its own; a manifest marks it as completed.

    Args:
        overrides: all of the run's.
        folder: of the run.
        measure: what is measured of it.
        base: the directory of a completed run, which is copied and trained further: with the same configuration, except
            for how long it trains, this gives the same results as training from scratch.

    Raises:
        ValueError: the run failed.
    """
    from fmnist_lightning.training.run import train

    started = time.monotonic()
    run, cfg = Run(folder), without_hydra(compose_config(overrides))
    summary = _continue_run(run, cfg, base, overrides) if base else train(cfg, folder, overrides)
    if summary["status"] == "failed":
        what = summary["error"].partition(";")[0]  # the rest suggests changes that the plan does not allow
        raise ValueError(f"{what}; trainer.precision=32-true is more exact, if it was not that already")
    if summary["status"] != "completed":
        raise KeyboardInterrupt
    measured = measure(run, cfg)
    write_measurements(run, {"measured": measured, "seconds": round(time.monotonic() - started, 2)})
    write_manifest(run)


def _continue_run(run: Run, cfg: DictConfig, base: Path, overrides: list[str]) -> dict[str, Any]:
    """Copies a completed run and trains it further, unless it is as long as it would get; returns the summary."""
    from fmnist_lightning.training.run import train

    shutil.copytree(base, run.folder, ignore=shutil.ignore_patterns(run.manifest.name))
    if not trains_longer(run.read_config(), cfg, len(run.read_metrics())):
        return run.read_summary()
    changes = [override for override in overrides if override.startswith((f"{MAX_EPOCHS}=", f"{PATIENCE}="))]
    with redirect_stdout(StringIO()):  # says that it resumes
        return train(cfg, run.folder, changes, resume=True)


def start_worker() -> None:
    """In a training process: one thread; ends with its parent, so that no run is trained twice at the same time."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # before torch is imported
    exit_with_parent()


def exit_with_parent() -> None:
    """Ends this process, which multiprocessing started, as soon as its parent ends, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
