"""The command line: compose, check, hand over. Imports no torch before the configuration is known to be good."""

import gc
import logging
import signal
import sys
from argparse import Namespace
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config.compose import CONFIG_NAME, composer
from fmnist_lightning.config.config_files import CONF, add_to_path, user_folders
from fmnist_lightning.config.environment import command_environment, tolerate_streams
from fmnist_lightning.config.errors import EXIT_SIGINT, EXIT_SIGTERM, Interrupted, format_error, full_traceback
from fmnist_lightning.config.processes import ignore_foreign_ranks, is_rank_zero, worker_overrides
from fmnist_lightning.config.validate import check, check_composed
from fmnist_lightning.runs.folders import reject_existing_run
from fmnist_lightning.runs.resume import find_run, find_unfinished_runs, stored_config
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep import Sweep, WatchSweep
from fmnist_lightning.runs.sweep_folder import is_completed_job
from fmnist_lightning.runs.training_length import explain_end
from fmnist_lightning.training.hardware import trim_heap

log = logging.getLogger(__name__)
_failed: list[Path] = []  # folders of the runs that failed: one does not stop a sweep


@command_environment()
def main() -> None:
    """Runs what the command line asks for; exits with 0 only if every run was completed."""
    ignore_foreign_ranks()
    parser = get_args_parser()
    arguments = parser.parse_intermixed_args()
    if hasattr(signal, "SIGUSR1"):  # a cluster's early warning, which would end Python with another status
        signal.signal(signal.SIGUSR1, lambda number, frame: sys.exit(EXIT_SIGTERM))
    only_asks = arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion
    with ExitStack() as held:  # the lock of a run that resumes
        if not only_asks:
            flags = [argument for argument in sys.argv[1:] if argument not in arguments.overrides]
            try:
                overrides = _validated(arguments, held)
            except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
                if full_traceback():
                    raise
                sys.exit(f"error: {format_error(error)}")
            # Lightning launches further processes of a run with the same arguments
            sys.argv[1:] = [*flags, *overrides, *worker_overrides()]
        try:
            _run()
        finally:
            unfinished = _show_sweep(Sweep(WatchSweep.folder), _options(arguments)) if WatchSweep.folder else 0
    if _failed or unfinished:
        sys.exit(1)


def _validated(arguments: Namespace, held: ExitStack) -> list[str]:
    """The overrides for Hydra: those that were typed, or those with which it works in a resumed run's directory.

    Raises:
        ValueError, HydraException, OmegaConfBaseException: what is wrong with the command line.
    """
    if arguments.config_path:
        raise ValueError("--config-path: conf/ is always searched; add your own config files with --config-dir DIR")
    where = {"config_dir": arguments.config_dir, "config_name": arguments.config_name or CONFIG_NAME}
    launch = check(arguments.overrides, arguments.multirun, runs_here=not arguments.cfg, **where)
    if arguments.cfg:
        return launch.overrides
    if launch.multirun:
        # Hydra composes every job of a batch before it launches the first: one at a time, where they run so
        one_by_one = launch.launcher == "basic" and not any(
            typed.lstrip("+").startswith("hydra.sweeper.max_batch_size=") for typed in launch.overrides
        )
        return [*launch.overrides, *["hydra.sweeper.max_batch_size=1"][: int(one_by_one)]]
    with composer(**where) as here:
        return _resumed(here.compose(launch.overrides), launch.overrides, held)


def _resumed(cfg: DictConfig, overrides: list[str], held: ExitStack) -> list[str]:
    """Overrides with which Hydra works in the directory of the run that resumes, now locked; for a new run as typed."""
    if cfg.resume is None:
        return overrides
    changes = [] if cfg.resume == "auto" else [typed for typed in overrides if typed.partition("=")[0] != "resume"]
    folders = user_folders(cfg.hydra)
    for run in find_unfinished_runs(cfg, folders) if cfg.resume == "auto" else [find_run(cfg.resume)]:
        try:
            if is_rank_zero():
                held.enter_context(run.locked())
        except ValueError:
            if cfg.resume == "auto":
                continue  # another process has resumed it
            raise
        stored_config(run, changes, folders)  # rejects what may not change, before anything is written
        folder = str(run.folder).replace("'", "\\'")
        return [*changes, f"resume='{folder}'", f"hydra.run.dir='{folder}'"]
    reject_existing_run(cfg)
    return overrides


def _options(arguments: Namespace) -> list[str]:
    """What the command of a single run needs to find the config files of a sweep."""
    options = [("--config-dir", arguments.config_dir), ("--config-name", arguments.config_name)]
    found = [word for option, value in options if value for word in (option, value)]
    found += [typed for typed in arguments.overrides if typed.startswith("hydra.searchpath=")]
    return found if arguments.multirun else [*found, "hydra.mode=RUN"]  # a config file asks for a multirun


def _show_sweep(sweep: Sweep, options: list[str]) -> int:
    """Prints how the sweep ended; how many jobs were not completed, or 1 where its table cannot be written."""
    unwritten = 0
    try:
        sweep.update(_draw)
    except OSError as error:
        print(f"error: {format_error(error)}", file=sys.stderr)
        unwritten = 1
    return sweep.show(options) or unwritten


def _draw(rows: Any, keys: Any, warnings: Any) -> bytes | None:
    from fmnist_lightning.evaluation.sweeps import draw_sweep  # which imports matplotlib

    return draw_sweep(rows, keys, warnings)


@hydra.main(config_path=str(CONF), config_name=CONFIG_NAME, version_base="1.3")
def _run(cfg: DictConfig) -> None:
    """One run. A failure is reported in one line; its traceback is in the run's log."""
    tolerate_streams()  # a launcher's process has its own
    settings = HydraConfig.get()
    run, overrides, folders = Run(settings.runtime.output_dir), list(settings.overrides.task), user_folders(settings)
    add_to_path(folders)  # here: a process that Lightning or a launcher starts runs this, too
    sweep = Sweep(settings.sweep.dir) if settings.mode == RunMode.MULTIRUN else None
    summary = None
    try:
        check_composed(cfg)  # whatever started this job
        with run.locked() if is_rank_zero() else nullcontext():
            resume = cfg.resume not in (None, "auto")  # auto without a run to resume is a new run
            if resume:
                overrides = [typed for typed in overrides if not typed.startswith("resume=")]
                cfg = stored_config(run, overrides, folders)
                if not overrides and run.is_completed():
                    print(f"already completed: {explain_end(run, cfg)}\nrun: {run.folder}")
                    return
            elif sweep and run.summary_json.exists():
                if is_completed_job(run, cfg, folders):
                    print(f"job {settings.job.num} is already completed")
                    return
                resume = True
                if run.read_status() != "damaged":
                    overrides = []  # which the summary has
                cfg = stored_config(run, [], folders)
            from fmnist_lightning.training.run import train

            summary = train(cfg, run.folder, overrides, resume)
    except KeyboardInterrupt:  # before the run has taken the signals over
        if is_rank_zero():
            print(f"interrupted\nrun: {run.folder}", flush=True)
        sys.exit(EXIT_SIGINT)
    except Interrupted as interruption:
        if is_rank_zero():
            print(f"{interruption}; resume it with resume={run.folder}\nrun: {run.folder}", flush=True)
        sys.exit(interruption.status)
    except Exception as error:
        if run.summary_json.exists():
            log.info("the run failed", exc_info=error)  # the console shows warnings and above, the file all
        if full_traceback():
            raise
        _failed.append(run.folder)
        print(f"error: {format_error(error)}", file=sys.stderr)
        if is_rank_zero():
            print(f"run: {run.folder}", flush=True)
        return
    finally:
        if sweep:
            with suppress(OSError):  # reported at the end of the sweep, if it persists
                sweep.update(_draw)
            gc.collect()  # a run's objects form cycles, which Python by itself looks for too rarely
            trim_heap()
    if summary:
        _show(summary, run.folder)
        if summary["status"] == "interrupted":  # a sweep ends here too
            sys.exit(EXIT_SIGINT)
        if summary["status"] == "failed":
            _failed.append(run.folder)


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
        print(f"interrupted: {learned}; resume it with resume={folder}")
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
