"""Trains the runs of the reproduction that are not completed yet, several at a time, each in one thread."""

import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.manifest import verify_manifest, write_manifest, write_measurements
from fmnist_lightning.study.plan import PlannedRun

NO_PROGRESS_BAR = ["~callbacks.progress"]  # concurrent runs share one progress bar


@dataclass(frozen=True)
class Execution:
    """How the planned runs are trained.

    Args:
        size: full or quick.
        overrides: for all runs, such as the dataset's directory.
        jobs: runs at a time.
        folder: the directory of the reproduction.
    """

    size: str
    overrides: Sequence[str]
    jobs: int
    folder: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the directory and locks it.

        Raises:
            ValueError: it is locked by another reproduction, or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"reproduce.folder={self.folder}: locked by another reproduction") from None
        except OSError as error:
            raise ValueError(
                f"reproduce.folder={self.folder}: cannot write there ({error.strerror}); choose another"
            ) from None
        with lock:
            yield

    def overrides_of(self, planned: PlannedRun) -> list[str]:
        """All overrides of a run."""
        return [*self.overrides, *planned.variant.overrides(planned.seed, self.size), *NO_PROGRESS_BAR]

    def run_of(self, planned: PlannedRun) -> Run:
        """The run, in a directory named after the settings, code, versions and device that its results depend on."""
        import torch
        from omegaconf import OmegaConf

        from fmnist_lightning.runs.provenance import code_sha256, device_name, versions

        cfg = without_hydra(compose_config(self.overrides_of(planned)))
        on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        device = device_name(torch.device("cuda" if on_gpu else "cpu"))
        depends_on = (OmegaConf.to_yaml(cfg, resolve=True), code_sha256(), versions(), device)
        key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:8]
        return Run(self.folder / "runs" / f"{planned.name}_{key}")

    def train_missing(self, runs: Mapping[PlannedRun, Run], console: Console) -> None:
        """Trains the runs that are not completed.

        Raises:
            ValueError: a run failed, its process was killed, or a completed run was changed.
        """
        missing = [planned for planned, run in runs.items() if not is_completed(run)]
        console.print(
            f"{len(runs)} runs, {len(runs) - len(missing)} of them already completed; "
            f"{self.jobs} at a time, in {self.folder / 'runs'}"
        )
        for planned in missing:  # a run that was interrupted has no manifest
            if runs[planned].folder.exists():
                shutil.rmtree(runs[planned].folder)
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_start_worker)
        try:
            futures = {
                pool.submit(train_and_measure, self.overrides_of(planned), runs[planned].folder): planned
                for planned in missing
            }
            self._show_progress(futures, runs, console)
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _show_progress(
        self, futures: "dict[Future[None], PlannedRun]", runs: Mapping[PlannedRun, Run], console: Console
    ) -> None:
        columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        day = 24 * 60 * 60  # the estimate is the mean speed of the whole reproduction
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=day
        ) as bar:
            task = bar.add_task("", total=sum(planned.variant.seconds(self.size) for planned in futures.values()))
            bar.advance(task, 0)  # starts the estimate
            for number, future in enumerate(as_completed(futures), start=1):
                planned = futures[future]
                _raise_error(future, planned, runs[planned])
                bar.advance(task, planned.variant.seconds(self.size))
                left = bar.tasks[0].time_remaining
                summary = runs[planned].read_summary()
                console.print(
                    f"{number:>3}/{len(futures)} {planned.name}: test accuracy {summary['test']['accuracy']:.4f}, "
                    f"epoch {summary['best_epoch']} of {summary['epochs']}, {summary['fit_seconds']:.0f} s"
                    + (f"; about {left / 60:.0f} min left" if left else "")
                )


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_completed(run: Run) -> bool:
    """Whether the run was completed.

    Raises:
        ValueError: it was, and its files were changed since.
    """
    if not run.manifest.exists():
        return False
    verify_manifest(run)
    return True


def train_and_measure(overrides: list[str], folder: Path) -> None:
    """One run, in a process of its own; a manifest marks it as completed.

    Raises:
        ValueError: the run failed.
    """
    from fmnist_lightning.study.losses import measure_losses
    from fmnist_lightning.training.run import train

    started = time.monotonic()
    run, cfg = Run(folder), without_hydra(compose_config(overrides))
    summary = train(cfg, folder, overrides)
    if summary["status"] == "failed":
        what = summary["error"].partition(";")[0]  # the rest suggests changes that the study does not allow
        raise ValueError(f"{what}; trainer.precision=32-true is more exact, if it was not that already")
    if summary["status"] != "completed":
        raise KeyboardInterrupt
    losses = measure_losses(run, cfg)
    write_measurements(run, {"losses": losses, "seconds": round(time.monotonic() - started, 2)})
    write_manifest(run)


def _raise_error(future: "Future[None]", planned: PlannedRun, run: Run) -> None:
    try:
        future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a run's process ended, out of memory or killed; the same command resumes, with less memory at a lower "
            "reproduce.jobs"
        ) from None
    except Exception as error:
        raise ValueError(f"{planned.name}: {format_error(error)}; its directory is {run.folder}") from error


def _start_worker() -> None:
    """In a training process: one thread; ends with its parent, so that no run is trained twice at the same time."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
