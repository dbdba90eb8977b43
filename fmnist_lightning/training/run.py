"""One run from start to end: prepare, fit, score the best checkpoint, report."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.provenance import config_sha256, timestamp
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.fit import fit_run
from fmnist_lightning.training.last_checkpoint import is_dev_run
from fmnist_lightning.training.loggers import finish_loggers
from fmnist_lightning.training.prepare import PreparedRun, prepare, read_previous, summary_entries
from fmnist_lightning.training.quiet import quiet
from fmnist_lightning.training.reporting import begin_logging, report_run
from fmnist_lightning.training.scoring import score_best
from fmnist_lightning.training.search_trial import SearchTrial, validation_entries
from fmnist_lightning.training.signals import StopOnSignal
from fmnist_lightning.training.stages import ShowStage, clear_stage, stage_display
from fmnist_lightning.training.status import RunStatus

log = logging.getLogger(__name__)


def train(
    cfg: DictConfig,
    directory: str | Path,
    overrides: Sequence[str] = (),
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    varied: Sequence[str] = (),
    trial: SearchTrial | None = None,
) -> dict[str, Any]:
    """Trains, tests and reports one run.

    Args:
        cfg: a composed configuration.
        directory: of the run; an existing run is never overwritten.
        overrides: as typed, for the summary.
        resume: whether to resume the run in the directory, from its last intact checkpoint.
        callbacks: added to those of the configuration.
        varied: keys that vary in the search of which the run is a trial; those of a multirun are known.
        trial: of a hyperparameter search. It is not tested: its summary has the validation scores of its best epoch.

    Returns:
        The summary, as written to the directory; an empty one in processes other than rank zero. Its status is
        `failed` if the loss diverged, `interrupted` after Ctrl-C during training, `pruned` if the search stopped it.

    Raises:
        ValueError: for a configuration that cannot run, naming the override to change.
        Interrupted: by any other signal.
    """
    run, show_stage = Run(directory), stage_display(cfg)
    previous = read_previous(run) if resume else {}
    summary = {
        "started": previous.get("started") if resume else timestamp(),
        "seed": cfg.seed,
        "overrides": [*previous.get("overrides", []), *overrides],
        "config_sha256": config_sha256(cfg),
    }
    with quiet(), StopOnSignal() as signals, ExitStack() as at_exit, RunStatus(run, summary) as status:
        at_exit.callback(clear_stage)
        if not resume:
            status.create(cfg, overrides)
        signals.raise_at_once()
        prepared = prepare(cfg, run, previous, resume, show_stage, [*callbacks, trial] if trial else callbacks)
        status.summary |= summary_entries(prepared, cfg, previous, overrides, resume)
        if resume:  # only now: a run that cannot be resumed stays as it is
            status.prepare_resume(cfg)
        else:
            status.write()
        if is_rank_zero():
            at_exit.callback(finish_loggers, prepared.trainer.loggers, status.summary)
            status.write(logger_runs=begin_logging(prepared, cfg, status.summary, resume, varied))
            log.info("training: %s", {name: status.summary[name] for name in ("model", "data", "device")})

        seconds, divergence = fit_run(prepared, signals)
        if not is_rank_zero():
            return {}
        ctrl_c = signals.acknowledge_ctrl_c()
        signals.defer()
        status.summary |= {"fit_seconds": round(seconds, 2), "epochs": len(run.read_metrics())}
        if divergence:
            status.write(status="failed", error=format_error(divergence))
        elif ctrl_c:
            status.write(status="interrupted")
        elif trial and trial.pruned:
            status.write(status="pruned")

        if trial:
            final_status = _final_status(status)
            status.summary |= validation_entries(run, prepared)
        else:
            final_status = _score_and_report(run, cfg, prepared, status, signals, show_stage)
        signals.raise_if_signalled()
        status.write(status=final_status)
        log.info("%s after %d epochs", final_status, status.summary["epochs"])
    return status.summary


def _score_and_report(
    run: Run, cfg: DictConfig, prepared: PreparedRun, status: RunStatus, signals: StopOnSignal, show_stage: ShowStage
) -> str:
    """Scores and reports the best checkpoint; returns the final status."""
    final_status = _final_status(status)
    show_stage("testing the best checkpoint")
    scores, predictor = score_best(run, cfg, prepared, status.summary["epochs"], signals)
    if predictor is not None:
        status.write(**scores)  # kept if the report fails
        show_stage("writing the report")
        report_run(run, prepared, predictor, {**status.summary, "status": final_status}, signals)
    elif final_status == "completed":
        if not is_dev_run(prepared.trainer):
            raise ValueError("no epoch was completed, so there is no checkpoint to score and report")
        final_status = "partial"
    return final_status


def _final_status(status: RunStatus) -> str:
    return str(status.summary["status"]).replace("running", "completed")
