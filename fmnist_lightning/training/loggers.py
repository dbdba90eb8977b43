"""What the loggers of a run receive: hyperparameters, a row of metrics per epoch, test scores, the report.

The names are the same in each, and the step is the epoch, counted from 1. What only TensorBoard receives (images,
precision-recall curves, the projector) is in evaluation/tensorboard.py.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.evaluation.run_values import run_values
from fmnist_lightning.runs.run import Run

_FAILED = "failed_with"  # attribute of a logger: the error, once it has failed
_GUARDED = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")


def start_loggers(
    loggers: Sequence[Logger], names: Sequence[str], config: Mapping[str, Any], resume: bool
) -> dict[str, str]:
    """Connects the loggers and logs the hyperparameters; later errors of a logger do not stop the run.

    Args:
        loggers: of the trainer.
        names: of each in the config.
        config: the resolved configuration.
        resume: whether the run is resumed.

    Returns:
        The ids under which MLflow and wandb continue the run, by name.

    Raises:
        ValueError: a logger cannot be used; the message names it.
    """
    ids = {}
    for logger, name in zip(loggers, names, strict=False):
        if isinstance(logger, TensorBoardLogger):
            logger.hparams = dict(config)  # which it writes to hparams.yaml
        if isinstance(logger, TensorBoardLogger | DummyLogger):
            continue
        try:
            if isinstance(logger, MLFlowLogger):
                ids[name] = str(logger.run_id)
            elif isinstance(logger, WandbLogger):
                logger._wandb_init.pop("anonymous", None)  # deprecated in wandb, which warns that Lightning passes it
                ids[name] = str(logger.experiment.id)
            if not (resume and isinstance(logger, MLFlowLogger)):  # whose parameters cannot be changed
                logger.log_hyperparams(dict(config))
        except OSError as error:
            if error.filename:
                raise
            raise ValueError(f"logger={name}: {format_error(error)}") from error
        except Exception as error:
            raise ValueError(f"logger={name}: {format_error(error)}") from error
        if not isinstance(logger, CSVLogger):  # a full disk ends the run, whatever is being written
            _guard(logger, name)
    return ids


def _guard(logger: Logger, name: str) -> None:
    """Disables a logger after its first error: a run does not fail because its server is down."""
    failed: list[Exception] = []
    setattr(logger, _FAILED, failed)

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if failed:
                return None
            try:
                return method(*args, **kwargs)
            except Exception as error:
                failed.append(error)
                print(f"logger={name} failed, the run continues without it: {format_error(error)}", file=sys.stderr)

        return call

    for method in _GUARDED:
        setattr(logger, method, guarded(getattr(logger, method)))


def first_epoch(logger: Logger, num_epochs: int, run: Run) -> int:
    """The first epoch that a logger has not received yet, in a run resumed after num_epochs epochs."""
    if num_epochs == 0 or isinstance(logger, TensorBoardLogger | CSVLogger):
        return 1  # their files are rewritten
    with suppress(Exception):  # the server is down, which _guard reports
        if isinstance(logger, MLFlowLogger):
            history = logger.experiment.get_metric_history(logger.run_id, "val/loss")
            return 1 + max((metric.step for metric in history), default=0)
        if isinstance(logger, WandbLogger) and not any(run.folder.glob("wandb/*/*.synced")):
            return 1 + int(logger.experiment.summary.get("trainer/global_step") or 0)
    return num_epochs + 1


def log_report(logger: Logger, summary: Mapping[str, Any], run: Run) -> None:
    """Logs the scores of the best epoch and, where a logger takes files, configuration and report."""
    logger.log_metrics(run_values(summary), step=summary["best_epoch"])
    logger.save()
    if getattr(logger, _FAILED, []):
        return
    try:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifacts(str(logger.run_id), str(run.report), "report")
            logger.experiment.log_artifact(str(logger.run_id), str(run.config_file))
        elif isinstance(logger, WandbLogger):
            import wandb

            media = {f"report/{path.stem}": wandb.Image(str(path)) for path in run.report.glob("*.png")}
            page = wandb.Html(run.report_html.read_text(encoding="utf-8"), inject=False)
            logger.experiment.log(media | {"report/page": page, "trainer/global_step": summary["best_epoch"]})
    except Exception as error:
        print(f"the report is not in {type(logger).__name__}: {format_error(error)}", file=sys.stderr)


def finish_loggers(loggers: Sequence[Logger], summary: Mapping[str, Any]) -> None:
    """Reports the final status of summary.json to the loggers, to TensorBoard if it failed; ends wandb's process."""
    status = summary["status"]
    for logger in loggers:
        # the report ends TensorBoard's row of a run that is tested; an interrupted run may be resumed
        if isinstance(logger, TensorBoardLogger) and (
            status == "failed" or ("test" not in summary and status != "interrupted")
        ):
            from fmnist_lightning.evaluation import tensorboard  # which imports matplotlib

            with suppress(Exception):  # the run has ended
                tensorboard.end_untested(logger.experiment, summary)
                logger.finalize(status)
        if isinstance(logger, TensorBoardLogger | DummyLogger):
            continue
        ended = {"failed": "failed", "interrupted": "aborted"}.get(status, "success")
        with suppress(Exception):  # the run has ended
            logger.finalize("KILLED" if isinstance(logger, MLFlowLogger) and ended == "aborted" else ended)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(ended != "success"))
