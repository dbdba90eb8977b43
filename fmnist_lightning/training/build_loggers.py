"""Builds the loggers of a configuration, with this project's defaults for MLflow and wandb."""

import inspect
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object, instantiate
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger
from omegaconf import DictConfig

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.runs.run import Run

MLFLOW_STORE = "sqlite:///outputs/mlflow.db"
PROJECT = "fmnist_lightning"


def build_loggers(cfg: DictConfig, run: Run, run_ids: Mapping[str, str]) -> list[Logger]:
    """The loggers of a configuration, which write to the run directory by default; nothing is created or sent yet.

    `run_ids` are those of the MLflow and wandb runs that a resumed run continues, by the logger's name.
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

    # the client's default, 7 retries of 120 s each, would delay a run for minutes if the server is down
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
            reason = format_error(error)
            print(f"MLflow run {run_id} cannot be continued ({reason}); a new one is started", file=sys.stderr)
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
        # no banner, no copy of the terminal; with links wandb does not resume a run
        "settings": wandb.Settings(silent=True, console="off", symlink=False),
    }
