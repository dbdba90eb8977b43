"""Makes the study again: python -m fmnist_lightning.reproduce [reproduce.size=quick] [reproduce.seeds=5] [OVERRIDES].

Trains every run of the study (fmnist_lightning/study/plan.py), each an ordinary run folder, and writes report.html and
results.json beside them. Stopped at any moment, the same command goes on: finished runs are kept.

reproduce.size=full      full, or quick: fewer epochs and images, in 3 minutes; it says nothing about the study
reproduce.seeds=5        how many seeds (0 to 4), or which: reproduce.seeds=[0,3,7]
reproduce.jobs=2         runs at a time; the number of cores unless given, 1 on a GPU. Each computes in one thread,
                         so that the results are the same whatever it is
reproduce.folder=DIR     outputs/reproduce/SIZE unless given
OVERRIDES                data=synthetic, data.root=DIR, data.mirrors=[...], trainer.accelerator=cpu,
                         trainer.precision=32-true
"""

import hashlib
import math
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fmnist_lightning.config.arguments import read_arguments
from fmnist_lightning.config.compose import composed, without_hydra
from fmnist_lightning.config.devices import num_gpus
from fmnist_lightning.config.errors import format_error, run_command
from fmnist_lightning.config.validate import check
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.manifest import verify_manifest, write_manifest, write_measurements
from fmnist_lightning.study.plan import EPOCHS, SIZES, Planned, plan

OWN = {"reproduce.size": "full", "reproduce.seeds": "5", "reproduce.jobs": None, "reproduce.folder": None}
ALLOWED = [f"data{key}" for key in ("", ".root", ".mirrors", ".num_train", ".num_test")]
ALLOWED += ["trainer.accelerator", "trainer.precision"]
QUIET = ["~callbacks.progress"]  # many runs at once share one progress bar


class Settings(NamedTuple):
    """What the command line asks for."""

    size: str
    seeds: list[int]
    jobs: int
    folder: Path
    overrides: list[str]


def main() -> None:
    """Runs the command."""
    run_command(reproduce, __doc__, "interrupted: what is finished is kept, the same command goes on")


def reproduce(arguments: Sequence[str]) -> dict[str, Any]:
    """Makes the runs that are not finished yet, then the comparison with the study.

    Args:
        arguments: as typed.

    Returns:
        What results.json holds.

    Raises:
        ValueError: an argument that cannot be, a run that failed, or one that was changed after it was finished.
        OSError: a folder or disk that cannot be written.
    """
    settings = read_settings(arguments)
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"reproduce.folder={settings.folder}: another reproduction works there") from None
    except OSError as error:
        raise ValueError(
            f"reproduce.folder={settings.folder}: cannot write there ({error.strerror}); choose another"
        ) from None
    with lock:
        console = Console(highlight=False, soft_wrap=True)
        runs = {planned: Run(_folder_of(planned, settings)) for planned in plan(settings.seeds)}
        missing = [planned for planned, run in runs.items() if not _is_finished(run)]
        console.print(
            f"{len(runs)} runs, {len(runs) - len(missing)} of them finished before; "
            f"{settings.jobs} at a time, into {settings.folder / 'runs'}"
        )
        _make_all(missing, runs, settings, console)

        from fmnist_lightning.study.page import write

        results = write(settings.folder, settings.size, settings.jobs, runs)
    console.print(f"results: {settings.folder / 'results.json'}\nreport: {settings.folder / 'report.html'}")
    return results


def read_settings(arguments: Sequence[str]) -> Settings:
    """Reads the command line, and refuses what cannot be before anything is made.

    Raises:
        ValueError: by name.
    """
    own = read_arguments([a for a in arguments if a.startswith("reproduce.")], OWN)
    overrides = [a for a in arguments if not a.startswith("reproduce.")]
    for override in overrides:
        if override.partition("=")[0] not in ALLOWED:
            raise ValueError(f"{override}: the study fixes this; allowed are {', '.join(OWN)} and {', '.join(ALLOWED)}")
    size = own["reproduce.size"]
    if size not in SIZES:
        raise ValueError(f"reproduce.size={size}: must be one of {', '.join(SIZES)}")
    check([*overrides, *QUIET])
    folder = own["reproduce.folder"] or f"outputs/reproduce/{size}"
    return Settings(size, _seeds(own["reproduce.seeds"]), _jobs(own["reproduce.jobs"]), Path(folder), overrides)


def _seeds(typed: str | None) -> list[int]:
    listed = (typed or "").strip("[]").split(",")
    if not all(number.strip().isdecimal() for number in listed) or typed == "0":
        raise ValueError(f"reproduce.seeds={typed}: must be how many seeds, at least 1, or a list such as [0,3,7]")
    numbers = [int(number) for number in listed]
    if len(numbers) == 1 and not (typed or "").startswith("["):
        return list(range(numbers[0]))
    if repeated := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ValueError(f"reproduce.seeds={typed}: {repeated[0]} stands there twice; each seed is one run")
    return numbers


def _jobs(typed: str | None) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if typed is None:
        return 1 if num_gpus() else cores
    if not typed.isdecimal() or not 1 <= int(typed) <= cores:
        raise ValueError(f"reproduce.jobs={typed}: must be a whole number from 1 to {cores}, the cores of this machine")
    return int(typed)


def _overrides(planned: Planned, settings: Settings) -> list[str]:
    return [*settings.overrides, *planned.cell.overrides(planned.seed, settings.size), *QUIET]


def _folder_of(planned: Planned, settings: Settings) -> Path:
    """Named by the settings, code, versions and device that make its numbers: others get another folder."""
    import torch
    from omegaconf import OmegaConf

    from fmnist_lightning.runs.provenance import code_sha256, device_name, versions

    cfg = without_hydra(composed(_overrides(planned, settings)))
    on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = device_name(torch.device("cuda" if on_gpu else "cpu"))
    depends_on = (OmegaConf.to_yaml(cfg, resolve=True), code_sha256(), versions(), device)
    key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:8]
    return settings.folder / "runs" / f"{planned.name}_{key}"


def _is_finished(run: Run) -> bool:
    """Whether the run was finished; one that was and is not as it was then is refused."""
    if not run.manifest.exists():
        return False
    verify_manifest(run)
    return True


def _make_all(missing: list[Planned], runs: dict[Planned, Run], settings: Settings, console: Console) -> None:
    """Makes the missing runs, some at a time."""
    started = time.monotonic()
    for planned in missing:  # what was begun and not finished has no seal
        if runs[planned].folder.exists():
            shutil.rmtree(runs[planned].folder)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(settings.jobs, mp_context=context, initializer=_start)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    total = sum(planned.cell.seconds(settings.size) for planned in missing)
    task = bar.add_task("training", total=total, left="")
    try:
        with bar:
            waiting = {
                pool.submit(_make, _overrides(planned, settings), runs[planned].folder): planned for planned in missing
            }
            while waiting:
                finished, _ = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
                names = {future: waiting.pop(future) for future in finished}
                to_do = sum(
                    (1 - _share_done(runs[p], settings.size)) * p.cell.seconds(settings.size) for p in waiting.values()
                )
                left = _time_left(time.monotonic() - started, total - to_do, to_do)
                bar.update(task, completed=total - to_do, left=left)
                for future, planned in names.items():
                    _raise_by_name(future, planned, runs[planned])
                    summary = runs[planned].read_summary()
                    console.print(
                        f"{len(missing) - len(waiting):>3}/{len(missing)} {planned.name}: test accuracy "
                        f"{summary['test']['accuracy']:.4f}, epoch {summary['best_epoch']} of {summary['epochs']}, "
                        f"{summary['fit_seconds']:.0f} s; {left}"
                    )
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _raise_by_name(future: "Future[None]", planned: Planned, run: Run) -> None:
    try:
        future.result()
    except BrokenProcessPool:
        raise ValueError(
            "a run's process ended, out of memory or killed; the same command goes on, with less memory at a lower "
            "reproduce.jobs"
        ) from None
    except Exception as error:
        raise ValueError(f"{planned.name}: {format_error(error)}; its folder is {run.folder}") from error


def _share_done(run: Run, size: str) -> float:
    return len(run.read_metrics()) / EPOCHS[size] if run.folder.exists() else 0.0


def _time_left(seconds: float, done: float, to_do: float) -> str:
    return f"about {math.ceil(seconds * to_do / done / 60)} min left" if done else ""


def _start() -> None:
    """In a process that trains: one thread; its end where its parent was killed, so that no run is made twice."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _make(overrides: list[str], folder: Path) -> None:
    """One run, in a process of its own; sealed where it was finished."""
    from fmnist_lightning.study.losses import measure_losses
    from fmnist_lightning.training.run import train

    started = time.monotonic()
    run, cfg = Run(folder), without_hydra(composed(overrides))
    summary = train(cfg, folder, overrides)
    if summary["status"] == "failed":
        what = summary["error"].partition(";")[0]  # what to try follows, which the study fixes
        raise ValueError(f"{what}; trainer.precision=32-true is more exact, if it was not that already")
    if summary["status"] != "completed":
        raise KeyboardInterrupt
    losses = measure_losses(run, cfg)
    write_measurements(run, {"losses": losses, "seconds": round(time.monotonic() - started, 2)})
    write_manifest(run)


if __name__ == "__main__":
    main()
