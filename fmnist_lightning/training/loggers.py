"""What the loggers of a run receive: hyperparameters, a row of metrics per epoch, test scores, the report.

TensorBoard's extras (images, curves, the projector) are in tensorboard.py.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import DictConfig

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.runs.run import Run

MLFLOW_STORE = "sqlite:///outputs/mlflow.db"
PROJECT = "fmnist_lightning"
_FAILED = "failed_with"  # attribute of a logger: the error, once it has failed
_GUARDED = ("log_metrics", "log_hyperparams", "log_graph", "save", "finalize", "after_save_checkpoint")


def build_loggers(cfg: DictConfig, run: Run, run_ids: Mapping[str, str]) -> list[Logger]:
    """The loggers of a configuration; nothing is created or sent yet.

    Args:
        cfg: a composed configuration.
        run: in whose directory they write, unless their config names another save_dir.
        run_ids: of a resumed run, the MLflow and wandb runs to continue, by the logger's name.
    """
    loggers = []
    for name, node in cfg.logger.items():
        defaults: dict[str, Any] = {}
        constructor = get_object(node._target_)
        if "save_dir" in inspect.signature(constructor).parameters:
            defaults["save_dir"] = str(run.folder)
        if constructor is MLFlowLogger:
            defaults |= _mlflow_defaults(node, run, run_ids.get(name))
        elif constructor is WandbLogger:
            defaults |= _wandb_defaults(run, run_ids.get(name))
        missing = {key: value for key, value in defaults.items() if node.get(key) is None}
        loggers.append(instantiate(node, **missing))
    return loggers


def _mlflow_defaults(node: DictConfig, run: Run, run_id: str | None) -> dict[str, Any]:
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # that an experiment is new
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # each retry
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    # the client's own 7 retries of 120 s each would hold up a run for minutes where the server is gone
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    uri = node.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI") or MLFLOW_STORE
    defaults = {
        "tracking_uri": uri,
        "experiment_name": os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT,
        "run_name": run.folder.absolute().name,
    }
    if uri.startswith("sqlite:///"):
        store = Path(uri.removeprefix("sqlite:///"))
        store.parent.mkdir(parents=True, exist_ok=True)
        defaults["artifact_location"] = store.with_suffix(".artifacts").absolute().as_uri()
    if run_id:
        try:
            MlflowClient(uri).get_run(run_id)
        except MlflowException as error:
            print(
                f"MLflow run {run_id} cannot be continued ({format_error(error)}); a new one is started",
                file=sys.stderr,
            )
        else:
            defaults["run_id"] = run_id
    return defaults


def _wandb_defaults(run: Run, run_id: str | None) -> dict[str, Any]:
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return {
        "project": os.environ.get("WANDB_PROJECT") or PROJECT,
        "name": run.folder.absolute().name,
        "offline": "WANDB_MODE" not in os.environ,
        "id": run_id,
        # no banner, no copy of the terminal, and no links, which a run that resumes may not hold
        "settings": wandb.Settings(silent=True, console="off", symlink=False),
    }


def start_loggers(
    loggers: Sequence[Logger], names: Sequence[str], config: Mapping[str, Any], resume: bool
) -> dict[str, str]:
    """Connects the loggers and logs the hyperparameters; from then on a failing one does not stop the run.

    Args:
        loggers: of the trainer.
        names: of each in the config.
        config: the resolved configuration.
        resume: whether the run was started before.

    Returns:
        The ids under which MLflow and wandb continue the run, by name.

    Raises:
        ValueError: a logger cannot be used, by its name.
    """
    ids = {}
    for logger, name in zip(loggers, names, strict=False):
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
        if not isinstance(logger, CSVLogger):  # a full disk ends the run, whoever meets it
            _guard(logger, name)
    return ids


def _guard(logger: Logger, name: str) -> None:
    """Has a logger that fails once do nothing from then on: a run is not lost with its server."""
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
    """The first epoch that a logger has not got yet, in a run resumed after num_epochs epochs."""
    if num_epochs == 0 or isinstance(logger, TensorBoardLogger | CSVLogger):
        return 1  # whose files are written anew
    with suppress(Exception):  # a server that is gone, which its guard reports
        if isinstance(logger, MLFlowLogger):
            history = logger.experiment.get_metric_history(logger.run_id, "lr")
            return 1 + max((metric.step for metric in history), default=0)
        if isinstance(logger, WandbLogger) and not any(run.folder.glob("wandb/*/*.synced")):
            return 1 + int(logger.experiment.summary.get("trainer/global_step") or 0)
    return num_epochs + 1


def log_report(logger: Logger, summary: Mapping[str, Any], run: Run) -> None:
    """Logs the scores of the best epoch and, where a logger takes files, configuration and report."""
    val, test = summary["val"], summary["test"]
    scores = {"best/val_loss": val["loss"], "best/val_accuracy": val["accuracy"], "test/loss": test["loss"]}
    scores |= {"test/accuracy": test["accuracy"], "test/macro_f1": test["macro"]["f1"]}
    scores["best/monitored"] = summary["monitored"]["value"]
    logger.log_metrics(scores, step=summary["best_epoch"])
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
            page = wandb.Html(run.report_html.read_text(), inject=False)
            logger.experiment.log(media | {"report/page": page, "trainer/global_step": summary["best_epoch"]})
    except Exception as error:
        print(f"the report is not in {type(logger).__name__}: {format_error(error)}", file=sys.stderr)


def finish_loggers(loggers: Sequence[Logger], summary: Mapping[str, Any]) -> None:
    """Says how the run ended, as summary.json does, and ends wandb's process."""
    status = summary["status"]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger | DummyLogger):
            continue
        ended = {"failed": "failed", "interrupted": "aborted"}.get(status, "success")
        with suppress(Exception):  # the run has ended
            logger.finalize("KILLED" if isinstance(logger, MLFlowLogger) and ended == "aborted" else ended)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(ended != "success"))
