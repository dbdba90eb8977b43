"""The command line: compose, check, hand over. Imports no torch before the configuration is known to be good."""

import gc
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock, Timeout
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config import CONFIG_NAME, check, composed
from fmnist_lightning.config_files import CONF, add_to_path, user_folders
from fmnist_lightning.devices import give_back_freed_memory
from fmnist_lightning.environment import command_environment
from fmnist_lightning.errors import INTERRUPTED, TERMINATED, Interrupted, one_line, wants_trace
from fmnist_lightning.files import is_whole
from fmnist_lightning.folders import refuse_taken
from fmnist_lightning.processes import ignore_foreign_ranks, is_rank_zero, worker_overrides
from fmnist_lightning.resume import lock_of, named_run, stored_config, unfinished_run
from fmnist_lightning.runs import Run
from fmnist_lightning.sweep import Sweep, WatchSweep, take_up
from fmnist_lightning.training_length import explain_end

log = logging.getLogger(__name__)
_locks: dict[Path, FileLock] = {}  # of a run that goes on, held since it was chosen
_failed: list[Path] = []  # folders of the runs that failed: one does not stop a sweep


@command_environment()
def main() -> None:
    """Runs what the command line asks for; exits with 0 only where every run was completed."""
    ignore_foreign_ranks()
    arguments = get_args_parser().parse_intermixed_args()
    if hasattr(signal, "SIGUSR1"):  # a cluster's early warning, which would end Python with another status
        signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(TERMINATED))
    only_asks = arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion
    if not only_asks:
        flags = [argument for argument in sys.argv[1:] if argument not in arguments.overrides]
        overrides = arguments.overrides
        try:
            check(overrides, arguments.multirun, arguments.config_dir, runs_here=not arguments.cfg)
            if not (arguments.multirun or arguments.cfg):
                overrides = _go_on(overrides, arguments.config_dir)
        except (ValueError, HydraException, OmegaConfBaseException) as error:
            if wants_trace():
                raise
            sys.exit(f"error: {one_line(error)}")
        # Hydra reads overrides from one place only; at the end Lightning adds those of the processes that it starts
        sys.argv[1:] = [*flags, *overrides, *worker_overrides()]
    try:
        _run()
    finally:
        unfinished = _show_sweep(Sweep(WatchSweep.folder)) if WatchSweep.folder else 0
    if _failed or unfinished:
        sys.exit(1)


def _show_sweep(sweep: Sweep) -> int:
    """Prints how the sweep ended; how many jobs were not completed, or 1 where its table cannot be written."""
    unwritten = 0
    try:
        sweep.update()
    except OSError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        unwritten = 1
    return sweep.show() or unwritten


def _go_on(overrides: list[str], config_dir: str | None) -> list[str]:
    """Overrides with which Hydra works in the folder of the run that goes on, now locked; as typed for a new run."""
    cfg = composed(overrides, config_dir)
    if cfg.resume is None:
        return overrides
    changes = [] if cfg.resume == "auto" else [typed for typed in overrides if typed.partition("=")[0] != "resume"]
    folders = user_folders(cfg.hydra)
    found = unfinished_run(cfg, folders) if cfg.resume == "auto" else named_run(cfg.resume)
    if found is None:
        refuse_taken(cfg)  # before Hydra writes its files over those of the run that is there
        return overrides
    run, lock = found
    if lock:
        _locks[run.folder] = lock
    stored_config(run, changes, folders)  # refuses what may not change, before anything is written
    folder = str(run.folder).replace("'", "\\'")
    return [*changes, f"resume='{folder}'", f"hydra.run.dir='{folder}'", "hydra.output_subdir=null"]


@hydra.main(config_path=str(CONF), config_name=CONFIG_NAME, version_base="1.3")
def _run(cfg: DictConfig) -> None:
    """One run. What goes wrong is told in one line, and its trace kept in the run's log."""
    settings = HydraConfig.get()
    folder, overrides = Path(settings.runtime.output_dir), list(settings.overrides.task)
    add_to_path(user_folders(settings))  # here: a process that Lightning or a launcher starts runs this, too
    sweep = Sweep(settings.sweep.dir) if settings.mode == RunMode.MULTIRUN else None
    lock = _locks.get(folder.resolve()) or lock_of(folder)
    try:
        if is_rank_zero():
            lock.acquire(timeout=0)  # once more where it is held
        if sweep and take_up(folder, overrides):
            print(f"job {settings.job.num} was completed before and is kept")
            return
        resume = cfg.resume not in (None, "auto")  # auto without a run to go on with is a new run
        if resume:
            overrides = [typed for typed in overrides if not typed.startswith("resume=")]
            cfg = stored_config(Run(folder), overrides, user_folders(settings))
            run = Run(folder)
            status = run.read_status()
            if not overrides and (status == "partial" or (status == "completed" and is_whole(run.best_checkpoint))):
                print(f"already completed: {explain_end(run, cfg)}\nrun: {folder}")
                return
        from fmnist_lightning.training import train

        summary = train(cfg, folder, overrides, resume)
    except Timeout:
        _failed.append(folder)
        print(f"error: {folder}: another process works on this run", file=sys.stderr)
        return
    except KeyboardInterrupt:  # before the run has taken the signals over
        if is_rank_zero():
            print(f"interrupted\nrun: {folder}", flush=True)
        sys.exit(INTERRUPTED)
    except Interrupted as interruption:
        if is_rank_zero():
            print(f"{interruption}; resume={folder} goes on\nrun: {folder}", flush=True)
        sys.exit(interruption.status)
    except Exception as error:
        log.info("the run failed", exc_info=error)  # the console shows warnings and above, the file all
        if wants_trace():
            raise
        _failed.append(folder)
        print(f"error: {one_line(error)}", file=sys.stderr)
        if is_rank_zero():
            print(f"run: {folder}", flush=True)
        return
    finally:
        lock.release()
        if sweep:
            with suppress(OSError):  # which the end of the sweep tells, where it lasts
                sweep.update()
            gc.collect()  # a run's objects know each other; by itself Python looks for such too rarely
            give_back_freed_memory()
    if summary:
        _show(summary, folder)
        if summary["status"] == "interrupted":  # a sweep ends here too
            sys.exit(INTERRUPTED)
        if summary["status"] == "failed":
            _failed.append(folder)


def _show(summary: dict[str, Any], folder: Path) -> None:
    """Prints how the run ended; the last line is its folder."""
    from rich.console import Console

    from fmnist_lightning.data import FashionMNISTData
    from fmnist_lightning.evaluation.choice import name_choice
    from fmnist_lightning.evaluation.terminal import print_scores

    console = Console(highlight=False)
    if "test" in summary:
        print_scores(summary["test"], FashionMNISTData.class_names, console)
        print(
            f"test accuracy {summary['test']['accuracy']:.4f} at epoch {summary['best_epoch']} of {summary['epochs']}, "
            f"chosen by the {name_choice(summary['monitored'])}: {summary['monitored']['value']:.4f}"
        )
    if summary["status"] == "interrupted":
        learned = "its best epoch so far is reported" if "test" in summary else "nothing is reported yet"
        print(f"interrupted: {learned}; resume={folder} goes on")
    if summary["partial"]:
        scored = "its scores do not compare with those of a full run" if "test" in summary else "nothing was scored"
        print(f"*** partial run ({summary['partial']}): {scored} ***")
    if summary["data_note"]:
        print(f"*** {summary['data_note']}: these scores say nothing about Fashion-MNIST ***")
    if "test" in summary:
        print(f"report: {Run(folder).report_html}")
    if summary["status"] == "failed":
        print(f"error: {summary['error']}", file=sys.stderr)
    print(f"run: {folder}", flush=True)


if __name__ == "__main__":
    main()
