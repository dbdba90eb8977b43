"""Scores the validation and test images, each once and on one device, with the weights of best.ckpt."""

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.calibration import cross_fitted
from fmnist_lightning.inference.load import choose_device, load_best
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.inference.run_calibration import calibrate_predictor
from fmnist_lightning.inference.run_data import load_data
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.callbacks import best_checkpoint
from fmnist_lightning.training.hardware import trim_heap
from fmnist_lightning.training.prepare import PreparedRun
from fmnist_lightning.training.signals import StopOnSignal


def score_best(
    run: Run, cfg: DictConfig, prepared: PreparedRun, completed_epochs: int, signals: StopOnSignal
) -> tuple[dict[str, Any], Predictor | None]:
    """Scores the best checkpoint and writes the predictions; a signal stops it after a batch.

    Returns:
        Entries of the summary, and the model that was scored; empty and None without a checkpoint, or if best.ckpt is
        newer than the completed epochs (killed in between).
    """
    if not run.best_checkpoint.exists():
        return {}, None
    trainer, data = prepared.trainer, prepared.datamodule
    predictor = load_best(run, cfg, trainer.strategy.root_device, str(trainer.precision))
    if predictor.epoch > completed_epochs:
        return {}, None
    # not trainer.test(ckpt_path="best"), which distributes the images over devices and keeps no predictions
    scores, logits = score_splits(predictor, data, signals.raise_if_signalled)
    run.write_predictions(data.labels["test"], logits["test"].softmax(dim=1))
    scores["calibration"] = _calibrate(predictor, data, logits["val"])
    trim_heap()  # before the report allocates its own
    best = best_checkpoint(trainer)
    assert best is not None
    assert best.best_model_score is not None  # of limit_val_batches, unlike the scores
    monitored = {"metric": best.monitor, "mode": best.mode, "value": round(best.best_model_score.item(), 6)}
    return {"best_epoch": predictor.epoch, "monitored": monitored, **scores}, predictor


def score_run(
    run: Run, cfg: DictConfig, data_root: str | None, accelerator: str, tta: bool, show_stage: Callable[[str], None]
) -> dict[str, Any]:
    """Scores a completed run again, on its own images.

    Args:
        run: with scores in its summary.
        cfg: its configuration.
        data_root: the directory of the dataset; None is the run's.
        accelerator: as trainer.accelerator.
        tta: whether the scores have an entry `flip_averaging`, by `score_with_flips`.
        show_stage: is told what is being done.

    Raises:
        ValueError: the images are not those of the run.
    """
    show_stage("loading the data")
    predictor = load_best(run, cfg, choose_device(accelerator), run.read_summary()["precision"])
    data = load_data(run, cfg, data_root)
    show_stage("testing the best checkpoint")
    scores, logits = score_splits(predictor, data)
    return scores | ({"flip_averaging": score_with_flips(predictor, data, logits)} if tta else {})


def score_splits(
    predictor: Predictor, data: FashionMNISTData, after_batch: Callable[[], None] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Scores all validation and test images; `after_batch` may raise to stop.

    Returns:
        val: {loss, accuracy} and test: all scores of `evaluation.scores.score`; the logits (N, 10) of both, those of
        the test images in official order.
    """
    from fmnist_lightning.evaluation.scores import loss_and_accuracy, score  # training starts sooner without

    logits = {stage: predictor.logits(data.images[stage], after_batch) for stage in ("val", "test")}
    for stage, values in logits.items():
        assert len(values) == len(data.labels[stage]), "each image is scored exactly once"
    return {
        "val": loss_and_accuracy(logits["val"], data.labels["val"]),
        "test": score(logits["test"], data.labels["test"], data.class_names),
    }, logits


def score_with_flips(predictor: Predictor, data: FashionMNISTData, logits: dict[str, Tensor]) -> dict[str, Any]:
    """Loss and accuracy, in val and test, of probabilities averaged over each image and its mirror image.

    Args:
        predictor: the model.
        data: the images.
        logits: of the images as they are, by `score_splits`.
    """
    from fmnist_lightning.evaluation.scores import loss_and_accuracy

    scores = {}
    for stage, plain in logits.items():
        flipped = predictor.logits(data.images[stage].flip(-1))
        mean = torch.stack([plain, flipped]).softmax(dim=2).mean(dim=0)
        scores[stage] = loss_and_accuracy(mean.log(), data.labels[stage])
    return scores


def _calibrate(predictor: Predictor, data: FashionMNISTData, logits: Tensor) -> dict[str, float]:
    """The summary's entry `calibration`, from the logits (N, 10) of the validation images.

    The error before and after temperature scaling is that of the validation images, each half with the temperature
    that was fitted on the other; the stored temperature is fitted on all.
    """
    from fmnist_lightning.evaluation.scores import calibration_error

    labels = data.labels["val"]
    predictor.calibration = calibrate_predictor(predictor, data, logits)
    return {
        **predictor.calibration._asdict(),
        "calibration_error_before": calibration_error(logits, labels),
        "calibration_error_after": calibration_error(cross_fitted(logits, labels), labels),
    }
