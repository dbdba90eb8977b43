"""The report of a run: its files, and what its loggers receive of them.

What draws is imported when there is something to draw: training starts sooner and in less memory.
"""

from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import without_hydra
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.command import repeat_command
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.loggers import log_report, start_loggers
from fmnist_lightning.training.prepare import PreparedRun
from fmnist_lightning.training.quiet import quiet
from fmnist_lightning.training.signals import StopOnSignal


def begin_logging(prepared: PreparedRun, cfg: DictConfig, summary: dict[str, Any], resume: bool) -> dict[str, str]:
    """Connects the loggers and logs the hyperparameters.

    Returns:
        The ids under which MLflow and wandb continue the run, by name.
    """
    for logger in prepared.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            from fmnist_lightning.evaluation import tensorboard

            tensorboard.begin_run(logger.experiment, tensorboard.settings(cfg, summary))
    settings: Any = OmegaConf.to_container(without_hydra(cfg), resolve=True)
    with quiet():
        return start_loggers(prepared.trainer.loggers, list(cfg.logger), settings, resume)


def report_run(
    run: Run, prepared: PreparedRun, predictor: Predictor, summary: dict[str, Any], signals: StopOnSignal
) -> None:
    """Writes the report and sends it to the loggers.

    Args:
        run: that is reported.
        prepared: its data and trainer.
        predictor: the model that was scored.
        summary: with its scores.
        signals: checked between the steps.

    Raises:
        ValueError: that failed; the message says where the scores are and how to write the report again.
    """
    try:
        _report(run, prepared, predictor, summary, signals)
    except OSError:  # names its file
        raise
    except Exception as error:
        raise ValueError(
            f"the report failed ({format_error(error)}); test accuracy {summary['test']['accuracy']:.4f}, all scores "
            f"are in {run.summary_json}; resume={run.folder} writes the report"
        ) from error


def _report(
    run: Run, prepared: PreparedRun, predictor: Predictor, summary: dict[str, Any], signals: StopOnSignal
) -> None:
    from fmnist_lightning.evaluation.origin import Origin
    from fmnist_lightning.evaluation.report import build_report

    data, predictions = prepared.datamodule, run.read_predictions()
    config = OmegaConf.load(run.config_file)  # resolved
    assert isinstance(config, DictConfig)
    origin = Origin(config, run.folder.absolute(), repeat_command(run, summary))
    files = build_report(summary, run.read_metrics(), predictions, data.images["test"], data.class_names, origin)
    run.write_report(files)
    signals.raise_if_signalled()
    for logger in prepared.trainer.loggers:
        if not isinstance(logger, TensorBoardLogger):
            log_report(logger, summary, run)
            continue
        from fmnist_lightning.evaluation import tensorboard

        text, names, writer = run.config_file.read_text(encoding="utf-8"), data.class_names, logger.experiment
        tensorboard.end_run(writer, summary, predictions, files, text, names)
        signals.raise_if_signalled()
        images, labels = (of["test"][: tensorboard.NUM_FEATURES] for of in (data.images, data.labels))
        model = predictor.model.cpu()
        tensorboard.show_network(writer, model.normalize, model.network, images, labels, names)
        logger.finalize("success")
