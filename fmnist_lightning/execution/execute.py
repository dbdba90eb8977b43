"""Trains the planned runs that are not completed yet, several at a time, each in a directory of its own."""

import hashlib
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.execution.worker import Measure, is_completed, start_worker, train_and_measure
from fmnist_lightning.runs.run import Run

NO_PROGRESS_BAR = ["~callbacks.progress"]  # all runs share one progress bar


class Planned(Protocol):
    """One run of a plan."""

    @property
    def name(self) -> str:
        """As printed, and the beginning of its directory name."""

    def overrides(self, size: str) -> list[str]:
        """How it differs from the other runs."""

    def seconds(self, size: str) -> float:
        """Of the whole run, roughly."""


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True)
class Execution:
    """How the planned runs are trained: each in one thread, so that its results do not depend on the number of cores.

    Args:
        command: its name, by which messages name its arguments.
        size: full or quick.
        overrides: for all runs, such as the dataset's directory.
        jobs: runs at a time.
        folder: of all runs.
        process_per_run: whether each run has a process of its own, and its seconds are those of the train command.
    """

    command: str
    size: str
    overrides: Sequence[str]
    jobs: int
    folder: Path
    process_per_run: bool = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the directory and locks it.

        Raises:
            ValueError: it is locked by another process, or cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{self.command}.folder={self.folder}: locked by another process") from None
        except OSError as error:
            raise ValueError(
                f"{self.command}.folder={self.folder}: cannot write there ({error.strerror}); choose another"
            ) from None
        with lock:
            yield

    def overrides_of(self, planned: Planned) -> list[str]:
        """All overrides of a run."""
        return [*self.overrides, *planned.overrides(self.size), *NO_PROGRESS_BAR]

    def run_of(self, planned: Planned) -> Run:
        """The run, in a directory named after what its results depend on: settings, code, versions, device."""
        import torch
        from omegaconf import OmegaConf

        from fmnist_lightning.runs.provenance import code_sha256, device_name, versions

        cfg = without_hydra(compose_config(self.overrides_of(planned)))
        on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        device = device_name(torch.device("cuda" if on_gpu else "cpu"))
        depends_on = (OmegaConf.to_yaml(cfg, resolve=True), code_sha256(), versions(), device)
        key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:8]
        return Run(self.folder / "runs" / f"{planned.name}_{key}")

    def train_missing(
        self, runs: Mapping[P, Run], measure: Measure, console: Console, bases: Mapping[P, P] | None = None
    ) -> None:
        """Trains and measures the runs that are not completed, in their order.

        Args:
            runs: all planned runs.
            measure: what is measured of a run.
            console: prints the progress.
            bases: of each run that is another one, trained further.

        Raises:
            ValueError: a run failed, its process was killed, or a completed run was changed.
        """
        missing = [planned for planned, run in runs.items() if not is_completed(run)]
        console.print(
            f"{len(runs)} runs, {len(runs) - len(missing)} of them already completed; "
            f"{self.jobs} at a time, in {self.folder / 'runs'}"
        )
        if missing:
            seconds = sum(planned.seconds(self.size) for planned in missing)
            minutes = max(1, round(seconds / self.jobs / 60))
            console.print(f"about {minutes} min: {seconds:,.0f} core-seconds of an AMD EPYC")
        for planned in missing:  # a run that was interrupted has no manifest
            if runs[planned].folder.exists():
                shutil.rmtree(runs[planned].folder)
        pool = ProcessPoolExecutor(
            self.jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            max_tasks_per_child=1 if self.process_per_run else None,
        )
        try:
            self._train(pool, missing, runs, bases or {}, measure, console)
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _train(
        self,
        pool: ProcessPoolExecutor,
        missing: Sequence[P],
        runs: Mapping[P, Run],
        bases: Mapping[P, P],
        measure: Measure,
        console: Console,
    ) -> None:
        """As many runs at a time as there are jobs; a run waits for its base."""
        waiting, training = list(missing), dict[Future[None], P]()
        columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        day = 24 * 60 * 60  # the estimate is the mean speed of all runs so far
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=day
        ) as bar:
            task = bar.add_task("", total=sum(planned.seconds(self.size) for planned in missing))
            bar.advance(task, 0)  # starts the estimate
            while waiting or training:
                blocked = {*waiting, *training.values()}
                ready = [planned for planned in waiting if bases.get(planned) not in blocked]
                for planned in ready[: self.jobs - len(training)]:
                    waiting.remove(planned)
                    base = runs[bases[planned]].folder if planned in bases else None
                    arguments = (self.overrides_of(planned), runs[planned].folder, measure, base)
                    training[pool.submit(train_and_measure, *arguments)] = planned
                for future in wait(training, return_when=FIRST_COMPLETED).done:
                    planned = training.pop(future)
                    self._raise_error(future, planned, runs[planned])
                    bar.advance(task, planned.seconds(self.size))
                    left = bar.tasks[0].time_remaining
                    number = f"{len(missing) - len(waiting) - len(training):>3}/{len(missing)}"
                    console.print(
                        f"{number} {planned.name}: {describe_scores(runs[planned].read_summary())}"
                        + (f"; about {left / 60:.0f} min left" if left else "")
                    )

    def _raise_error(self, future: "Future[None]", planned: Planned, run: Run) -> None:
        try:
            future.result()
        except BrokenProcessPool:
            less = f", with less memory at a lower {self.command}.jobs" * (self.jobs > 1)
            raise ValueError(
                f"a run's process ended, out of memory or killed; the same command resumes{less}"
            ) from None
        except Exception as error:
            raise ValueError(f"{planned.name}: {format_error(error)}; its directory is {run.folder}") from error


def describe_scores(summary: Mapping[str, Any]) -> str:
    """The scores of a completed run, in a line."""
    return (
        f"accuracy {summary['val']['accuracy']:.4f} (validation), {summary['test']['accuracy']:.4f} (test), epoch "
        f"{summary['best_epoch']} of {summary['epochs']}, {summary['fit_seconds']:.0f} s"
    )
