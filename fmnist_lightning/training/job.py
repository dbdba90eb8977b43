"""Runs the jobs that Hydra starts: each trains one run, new or resumed; a failed one does not end a sweep.

Imports torch only once a job is known to train.
"""

import gc
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fmnist_lightning.config.config_files import add_to_path, user_config_dirs
from fmnist_lightning.config.consistency import validate_config
from fmnist_lightning.config.environment import tolerate_streams
from fmnist_lightning.config.errors import EXIT_SIGINT, Interrupted, format_error, full_traceback
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep import Sweep
from fmnist_lightning.runs.sweep_folder import is_completed_job
from fmnist_lightning.runs.training_length import explain_end
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.training.outcome import print_outcome
from fmnist_lightning.training.stages import clear_stage, stage_display

log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one command, and whether one of them failed."""

    def __init__(self) -> None:
        self.failed = False

    def run(self, cfg: DictConfig) -> None:
        """Hydra's task function: trains one run and prints its outcome, or the error; the log has the traceback."""
        tolerate_streams()  # a launcher's process has its own
        settings = HydraConfig.get()
        run = Run(settings.runtime.output_dir)
        sweep = Sweep(settings.sweep.dir) if settings.mode == RunMode.MULTIRUN else None
        try:
            summary = _train(cfg, run, settings)
        except KeyboardInterrupt:  # before the run handles signals
            _exit(run, "interrupted", EXIT_SIGINT)
        except Interrupted as interruption:
            _exit(run, f"{interruption}; resume it with resume={relative_path(run.folder)}", interruption.status)
        except Exception as error:
            if run.summary_json.exists():
                log.info("the run failed", exc_info=error)  # to the log file; the console shows warnings and above
            if full_traceback():
                raise
            self.failed = True
            print(f"error: {format_error(error)}", file=sys.stderr)
            if is_rank_zero():
                print(f"run: {run.folder}", flush=True)
            return
        finally:
            if sweep:
                with suppress(OSError):  # reported at the end of the sweep, if it persists
                    sweep.update(_draw)
                gc.collect()  # a run's objects form reference cycles, which Python collects too rarely
                trim_heap()
        if summary:
            config_dirs = user_config_dirs(settings)[:1]
            print_outcome(summary, run.folder, [f"--config-dir={relative_path(folder)}" for folder in config_dirs])
            if summary["status"] == "interrupted":  # a sweep ends here too
                sys.exit(EXIT_SIGINT)
            self.failed |= summary["status"] == "failed"


def _exit(run: Run, message: str, status: int) -> None:
    if is_rank_zero():
        print(f"{message}\nrun: {run.folder}", flush=True)
    sys.exit(status)


def _train(cfg: DictConfig, run: Run, settings: Any) -> dict[str, Any]:
    """Trains the run of a job; its summary. Empty if it is already completed, and in processes other than rank zero.

    Args:
        cfg: of the job.
        run: in the job's output directory.
        settings: Hydra's node of the configuration.
    """
    config_dirs = user_config_dirs(settings)
    add_to_path(config_dirs)  # here, as Lightning's and the launchers' processes need it too
    validate_config(cfg)  # whatever started this job
    overrides = list(settings.overrides.task)
    with run.locked() if is_rank_zero() else nullcontext():
        resume = cfg.resume not in (None, "auto")  # auto without a run to resume is a new run
        if resume:
            overrides = [typed for typed in overrides if not typed.startswith("resume=")]
            cfg = config_to_resume(run, overrides, config_dirs)
            if not overrides and run.is_completed():
                print(f"already completed: {explain_end(run, cfg)}\nrun: {run.folder}")
                return {}
        elif settings.mode == RunMode.MULTIRUN and run.summary_json.exists():
            if is_completed_job(run, cfg, config_dirs):
                print(f"job {settings.job.num} is already completed")
                return {}
            resume = True
            if run.read_status() != "damaged":
                overrides = []  # the summary has them
            cfg = config_to_resume(run, [], config_dirs)
        if cfg.resume == "auto" and not resume and is_rank_zero():
            print("resume=auto: no unfinished run of this configuration, starting a new one", flush=True)
        try:
            stage_display(cfg)("loading PyTorch")
            from fmnist_lightning.training.run import train
        finally:
            clear_stage()

        return train(cfg, run.folder, overrides, resume)


def finish_sweep(folder: str, options: Sequence[str]) -> int:
    """Prints how a sweep ended.

    Args:
        folder: of the sweep.
        options: with which its best run can be repeated, such as --config-dir.

    Returns:
        The number of jobs that were not completed, or 1 if the table cannot be written.
    """
    if not Path(folder).is_dir():
        return 0  # no job has started
    sweep, unwritten = Sweep(folder), 0
    try:
        sweep.update(_draw)
    except OSError as error:
        print(f"error: {format_error(error)}", file=sys.stderr)
        unwritten = 1
    return sweep.show(options) or unwritten


def _draw(rows: Any, keys: Any, warnings: Any) -> bytes | None:
    from fmnist_lightning.evaluation.sweeps import draw_sweep  # which imports matplotlib

    return draw_sweep(rows, keys, warnings)
