"""The report of a run: its files, and what its loggers receive of them.

What draws is imported when there is something to draw: training starts sooner and in less memory.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import without_hydra
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.command import repeat_command
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep_folder import varied_keys
from fmnist_lightning.training.loggers import log_report, start_loggers
from fmnist_lightning.training.prepare import PreparedRun
from fmnist_lightning.training.signals import StopOnSignal


def begin_logging(
    prepared: PreparedRun, cfg: DictConfig, summary: dict[str, Any], resume: bool, varied: Sequence[str]
) -> dict[str, str]:
    """Connects the loggers and logs the hyperparameters, in TensorBoard those that vary first.

    Returns:
        The ids under which MLflow and wandb continue the run, by name.
    """
    for logger in prepared.trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            from fmnist_lightning.evaluation import hparams

            hparams.begin_run(logger.experiment, cfg, summary, varied or _swept_keys())
    settings: Any = OmegaConf.to_container(without_hydra(cfg), resolve=True)
    return start_loggers(prepared.trainer.loggers, list(cfg.logger), settings, resume)


def _swept_keys() -> list[str]:
    """The keys that vary in the multirun of which this run is a job."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return []
    return varied_keys(HydraConfig.get().sweep.dir)


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
    from fmnist_lightning.evaluation.scores import worst_mistakes
    from fmnist_lightning.inference.saliency import saliency_overlays

    data, predictions = prepared.datamodule, run.read_predictions()
    config = OmegaConf.load(run.config_file)  # resolved
    assert isinstance(config, DictConfig)
    origin = Origin(config, run.folder.absolute(), repeat_command(run, summary))
    images, names = data.images["test"], data.class_names
    saliency = saliency_overlays(predictor, images[worst_mistakes(*predictions)])
    files = build_report(summary, run.read_metrics(), predictions, images, names, origin, saliency)
    run.write_report(files)
    signals.raise_if_signalled()
    for logger in prepared.trainer.loggers:
        if not isinstance(logger, TensorBoardLogger):
            log_report(logger, summary, run)
            continue
        from fmnist_lightning.evaluation import tensorboard
        from fmnist_lightning.evaluation.projector import NUM_IMAGES, projector_files

        writer = logger.experiment
        text = run.config_file.read_text(encoding="utf-8")
        texts = {"config": text, "report": str(files["classification_report.txt"])}
        tensorboard.end_run(writer, summary, predictions, images, texts, names)
        signals.raise_if_signalled()
        features = predictor.features(images[:NUM_IMAGES])
        if features.shape[1] > 0:
            labels, probabilities = (values[:NUM_IMAGES] for values in predictions)
            predicted = probabilities.argmax(dim=1)
            run.write_files(projector_files(features, images[:NUM_IMAGES], labels, predicted, names))
        model = predictor.model.cpu()
        tensorboard.add_graph(writer, model.network, model.normalize(images[:1]))
        logger.finalize("success")
