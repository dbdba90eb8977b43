"""Runs the jobs that Hydra starts: each trains one run, new or resumed; a failed one does not end a sweep.

Imports torch only once a job is known to train.
"""

import gc
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fmnist_lightning.config.config_files import add_to_path, user_config_dirs
from fmnist_lightning.config.consistency import validate_config
from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.config.devices import count_devices
from fmnist_lightning.config.environment import tolerate_streams
from fmnist_lightning.config.errors import EXIT_SIGINT, Interrupted, format_error, full_traceback
from fmnist_lightning.config.openmp import set_openmp_variables
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep import Sweep
from fmnist_lightning.runs.sweep_folder import is_completed_job
from fmnist_lightning.runs.sweep_text import JobLines
from fmnist_lightning.runs.training_length import explain_end
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.training.outcome import print_outcome
from fmnist_lightning.training.stages import clear_stage, stage_display

log = logging.getLogger(__name__)


class Jobs:
    """The jobs of one command, and whether one of them failed.

    Args:
        lines: prints the jobs of a sweep; None for a single run.
    """

    def __init__(self, lines: JobLines | None = None) -> None:
        self.lines = lines
        self.failed = False

    def run(self, cfg: DictConfig) -> None:
        """Hydra's task function: trains one run and prints its outcome, or the error; the log has the traceback."""
        tolerate_streams()  # a launcher's process has its own
        settings = HydraConfig.get()
        run, summary, message = Run(settings.runtime.output_dir), {}, ""
        try:
            summary = _train(cfg, run, settings, num_concurrent(settings, self.lines.num_jobs) if self.lines else 1)
        except KeyboardInterrupt:  # before the run handles signals
            self._exit(run, "interrupted", EXIT_SIGINT)
        except Interrupted as interruption:
            advice = f"; resume it with resume={relative_path(run.folder)}"
            self._exit(run, str(interruption), interruption.status, advice)
        except Exception as error:
            if run.summary_json.exists():
                log.info("the run failed", exc_info=error)  # to the log file; the console shows warnings and above
            if full_traceback():
                raise
            message = format_error(error)
        finally:
            if self.lines:
                with suppress(OSError):  # reported at the end of the sweep, if it persists
                    Sweep(settings.sweep.dir).update(_render)
                gc.collect()  # a run's objects form reference cycles, which Python collects too rarely
                trim_heap()
        self.failed |= bool(message) or summary.get("status") == "failed"
        if self.lines:
            self._print_line(self.lines, run, settings, summary, message)
        elif message:
            print(f"error: {message}", file=sys.stderr)
            if is_rank_zero():
                print(f"run: {run.folder}", flush=True)
        elif summary:
            config_dirs = user_config_dirs(settings)[:1]
            print_outcome(summary, run.folder, [f"--config-dir={relative_path(folder)}" for folder in config_dirs])
        if summary.get("status") == "interrupted":  # a sweep ends here too
            sys.exit(EXIT_SIGINT)

    def _exit(self, run: Run, message: str, status: int, advice: str = "") -> NoReturn:
        if self.lines:  # how to resume a sweep is printed at its end
            print(message, flush=True)
        elif is_rank_zero():
            print(f"{message}{advice}\nrun: {run.folder}", flush=True)
        sys.exit(status)

    def _print_line(self, lines: JobLines, run: Run, settings: Any, summary: dict[str, Any], message: str) -> None:
        """Prints the line of a sweep's job, to stderr if it failed."""
        rows = Sweep(settings.sweep.dir).rows()
        overrides = dict(typed.split("=", 1) for typed in settings.overrides.task if "=" in typed)
        row: dict[str, Any] = {"overrides": overrides, "value": None, "status": summary.get("status"), "error": ""}
        row |= next((each for each in rows if Path(each["folder"]).resolve() == run.folder.resolve()), {})
        if message:  # which the summary may lack, for example if another process writes it
            row |= {"status": "failed", "error": message}
        sys.stdout.flush()
        text = lines.line(settings.job.num, row, rows, reused=not summary and not message)
        print(text, file=sys.stderr if row["status"] == "failed" else sys.stdout, flush=True)


def num_concurrent(settings: Any, num_jobs: int) -> int:
    """How many of a sweep's jobs share the cores of this machine.

    Args:
        settings: Hydra's node of the configuration.
        num_jobs: of the sweep.
    """
    launcher = settings.runtime.choices["hydra/launcher"]
    if launcher == "submitit_local":  # starts all of them
        return num_jobs
    if launcher == "joblib":
        num: int = settings.launcher.n_jobs
        return num if num > 0 else max(1, num_cores() + 1 + num)
    return 1


def _train(cfg: DictConfig, run: Run, settings: Any, num_jobs: int) -> dict[str, Any]:
    """Trains the run of a job; its summary. Empty if it is already completed, and in processes other than rank zero.

    Args:
        cfg: of the job.
        run: in the job's output directory.
        settings: Hydra's node of the configuration.
        num_jobs: that share the cores.
    """
    config_dirs = user_config_dirs(settings)
    add_to_path(config_dirs)  # here, as Lightning's and the launchers' processes need it too
    validate_config(cfg)  # again: another program may have started this job through Hydra's API
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
                return {}
            resume = True
            if run.read_status() != "damaged":
                overrides = []  # `train` takes them from the summary, and appends these
            cfg = config_to_resume(run, [], config_dirs)
        if cfg.resume == "auto" and not resume and is_rank_zero():
            print("resume=auto: no unfinished run of this configuration, starting a new one", flush=True)
        set_openmp_variables(num_jobs * count_devices(cfg.trainer.accelerator, cfg.trainer.devices))
        try:
            stage_display(cfg)("loading PyTorch")
            from fmnist_lightning.training.run import train
        finally:
            clear_stage()

        return train(cfg, run.folder, overrides, resume)


def finish_sweep(folder: str, lines: JobLines, options: Sequence[str]) -> int:
    """Prints how a sweep ended.

    Args:
        folder: of the sweep.
        lines: that its jobs printed.
        options: with which its best run can be repeated, such as --config-dir.

    Returns:
        The number of jobs that were not completed, or 1 if the table cannot be written.
    """
    if not Path(folder).is_dir():
        return 0  # no job has started
    sweep, unwritten = Sweep(folder), 0
    try:
        sweep.update(_render)
    except OSError as error:
        print(f"error: {format_error(error)}", file=sys.stderr)
        unwritten = 1
    return sweep.show(options, lines.num_jobs, errors=lines.has_own_output) or unwritten


def _render(rows: Any, keys: Any, page: Any) -> dict[str, str | bytes]:
    from fmnist_lightning.evaluation.sweep_page import sweep_files  # which imports matplotlib

    return sweep_files(rows, keys, page)
