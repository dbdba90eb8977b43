"""One run: build, fit, test the best checkpoint, hand its predictions to evaluation.

What draws and scores is imported when there is something to draw and score: training starts sooner and in less memory.
"""

import gc
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor, nn

from fmnist_lightning.callbacks import CtrlC, GiveBackMemory
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.devices import computes_bfloat16, give_back_freed_memory, keep_freed_memory
from fmnist_lightning.errors import one_line
from fmnist_lightning.models import Classifier
from fmnist_lightning.provenance import config_sha256, provenance
from fmnist_lightning.runs import Run

ADVICE = (  # warnings of Lightning's that do not apply here
    ".*does not have many workers",  # one gather a batch is faster without
    ".*is smaller than the logging interval",  # nothing is logged by the step
    "GPU available but not used",  # whoever says accelerator=cpu means it
    ".*isinstance.treespec, LeafSpec.",  # how Lightning 2.6 asks torch's tree functions; discouraged since torch 2.11
)

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: str | Path, overrides: list[str]) -> dict[str, Any]:
    """Trains, tests and reports one run.

    Args:
        cfg: a composed configuration.
        folder: the run's own; a run that is already there is never overwritten.
        overrides: as typed, for the summary.

    Returns:
        The summary, as written to the folder; an empty one on a process other than the first.

    Raises:
        ValueError: for a configuration that cannot run, naming the override to change.
    """
    run = Run(folder)
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    summary: dict[str, Any] = {"status": "running", "seed": cfg.seed, "overrides": overrides}
    summary["config_sha256"] = config_sha256(cfg)
    if first:
        run.claim(summary, cfg)
    try:
        keep_freed_memory()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
        data.order_by(cfg.seed)
        data.setup()
        model = build_model(cfg)
        trainer = build_trainer(cfg, run, choose_precision(cfg, model))
        if trainer.global_rank > 0:  # else each process would drop the same units
            torch.manual_seed(cfg.seed + trainer.global_rank)
        summary |= {"model": type(model).__name__.lower(), "parameters": model.num_parameters}
        summary |= data.facts | provenance(trainer.strategy.root_device, str(trainer.precision))
        if first:
            run.write_summary(summary)
            _begin_tensorboard(cfg, trainer, summary)
            log.info("training the %s on %s, on %s", summary["model"], summary["data"], summary["device"])
        started = time.monotonic()
        finished = fit(trainer, model, data)
        summary |= {"fit_seconds": round(time.monotonic() - started, 2), "epochs": len(run.read_metrics())}
        if not first:
            return {}
        if run.best_checkpoint.exists():
            summary |= _conclude(run, cfg, trainer, data)
            give_back_freed_memory()  # before the report takes its own
        summary["status"] = "completed" if finished else "interrupted"
        if "test" in summary:
            _report(run, cfg, summary, trainer, data)
        run.write_summary(summary)
        log.info("%s after %d epochs", summary["status"], summary["epochs"])
    except BaseException as error:
        if first:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            run.write_summary(summary | {"status": status, "error": one_line(error)})
        raise
    return summary


def build_model(cfg: DictConfig) -> Classifier:
    """The model of a configuration, with its optimizer and scheduler."""
    optimizer = instantiate(cfg.optimizer, _convert_="all")
    scheduler = instantiate(cfg.scheduler, _convert_="all") or None
    model: Classifier = instantiate(cfg.model, optimizer=optimizer, scheduler=scheduler, _convert_="all")
    return model


def choose_precision(cfg: DictConfig, model: Classifier) -> Any:
    """The precision of a configuration; for auto bfloat16 where it is faster, else float32.

    It is where the hardware multiplies it and the model convolves: autocast costs a small dense network more than it
    gains. Lightning does not clip gradients in mixed precision with fused optimizers.
    """
    if cfg.trainer.precision != "auto":
        return cfg.trainer.precision
    convolves = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
    pays = convolves and cfg.trainer.gradient_clip_val is None and computes_bfloat16(cfg.trainer.accelerator)
    return "bf16-mixed" if pays else "32-true"


def build_trainer(cfg: DictConfig, run: Run, precision: Any) -> pl.Trainer:
    """The trainer of a configuration, whose callbacks and loggers write to the run's folder."""
    callbacks = [instantiate(callback) for callback in cfg.callbacks.values()]
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str(run.checkpoints)
    with _quiet():
        return pl.Trainer(
            **{**cfg.trainer, "precision": precision},
            callbacks=callbacks,
            logger=[instantiate(logger, save_dir=str(run.folder)) for logger in cfg.logger.values()],
            default_root_dir=run.folder,
            enable_progress_bar=False,  # Lightning's; ours is conf/callbacks' progress
            enable_model_summary=False,
            use_distributed_sampler=False,  # the data module itself shares the images out
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps from the terminal what Lightning says to everybody: its version of the device, tips, advice."""
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in ADVICE:
                warnings.filterwarnings("ignore", message=advice)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def fit(trainer: pl.Trainer, model: Classifier, data: FashionMNISTData) -> bool:
    """Fits; returns whether to the end, for Ctrl-C keeps what was learned."""
    ctrl_c = CtrlC()
    trainer.callbacks.extend([ctrl_c, GiveBackMemory()])  # type: ignore[attr-defined]
    before = signal.getsignal(signal.SIGINT)
    with _quiet():
        # the garbage collector need not walk the million objects of the libraries again and again: a tenth of an
        # epoch of the ANN
        gc.freeze()
        try:
            trainer.fit(model, datamodule=data)
        except (SystemExit, RuntimeError):  # what Lightning makes of Ctrl-C, or a process whose partner stopped first
            if not ctrl_c.pressed:
                raise
            return False
        finally:
            gc.unfreeze()
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, before)  # Lightning leaves it switched off
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # the first process goes on alone: one device scores
    return True


def _conclude(run: Run, cfg: DictConfig, trainer: pl.Trainer, data: FashionMNISTData) -> dict[str, Any]:
    """Scores the best checkpoint and writes the predictions; what the summary says of them."""
    from fmnist_lightning.evaluation import score

    model, checkpoint = run.load_best(cfg)
    if not any(math.isfinite(row["val/loss"]) for row in run.read_metrics()):
        raise ValueError(
            f"optimizer.lr={cfg.optimizer.lr}: the validation loss was never finite; lower it, "
            "or set trainer.gradient_clip_val=1.0"
        )
    device = trainer.strategy.root_device
    devices = [device.index] if device.index is not None else 1
    val, logits = test(model, data, trainer.precision, device.type, devices)
    labels = data.labels["test"]
    run.write_predictions(labels, logits.softmax(dim=1))
    return {
        "best_epoch": checkpoint["epoch"] + 1,
        "val": val,
        "test": score(logits, labels, data.class_names),
    }


def test(
    model: Classifier,
    data: FashionMNISTData,
    precision: Any = "32-true",
    accelerator: str = "auto",
    devices: list[int] | int = 1,
) -> tuple[dict[str, float], Tensor]:
    """Validates and tests a model on one device, whatever trained it.

    Returns:
        Validation loss and accuracy, and the logits (N, 10) of all test images in official order.
    """
    with _quiet():
        trainer = pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.validate(model, datamodule=data, verbose=False)
        val = {name: round(trainer.callback_metrics[f"val/{name}"].item(), 6) for name in ("loss", "accuracy")}
        trainer.test(model, datamodule=data, verbose=False)
    logits = torch.cat(model.test_logits)
    assert len(logits) == len(data.labels["test"]), "each test image is scored exactly once"
    return val, logits


def _begin_tensorboard(cfg: DictConfig, trainer: pl.Trainer, summary: dict[str, Any]) -> None:
    for logger in _tensorboards(trainer):
        from fmnist_lightning import tensorboard

        tensorboard.begin_run(logger.experiment, tensorboard.settings(cfg, summary))


def _tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _report(run: Run, cfg: DictConfig, summary: dict[str, Any], trainer: pl.Trainer, data: FashionMNISTData) -> None:
    """Writes the report's files and shows the same to TensorBoard."""
    from fmnist_lightning.evaluation import build_report

    predictions = run.read_predictions()
    files = build_report(summary, run.read_metrics(), predictions, data.images["test"], data.class_names)
    run.write_report(files)
    for logger in _tensorboards(trainer):
        from fmnist_lightning import tensorboard

        config, names, writer = run.config_file.read_text(), data.class_names, logger.experiment
        tensorboard.end_run(writer, summary, predictions, files, config, names)
        pixels, labels = (of["test"][: tensorboard.NUM_FEATURES] for of in (data.images, data.labels))
        model, _ = run.load_best(cfg)
        inputs, _ = data.on_after_batch_transfer((pixels, labels), 0)
        tensorboard.show_network(writer, model.network, pixels, inputs, labels, names)
        logger.finalize("success")


def show(summary: dict[str, Any], folder: Path) -> None:
    """Prints how the run ended; the last line is its folder."""
    from fmnist_lightning.evaluation.terminal import print_scores

    console = Console(highlight=False)
    if "test" in summary:
        print_scores(summary["test"], FashionMNISTData.class_names, console)
        print(
            f"test accuracy {summary['test']['accuracy']:.4f} at epoch {summary['best_epoch']} of {summary['epochs']}, "
            f"chosen by its validation loss of {summary['val']['loss']:.4f}"
        )
    if summary["status"] == "interrupted":
        learned = (
            "its best epoch so far is reported" if "test" in summary else "no epoch was finished, nothing to report"
        )
        print(f"interrupted: {learned}")
    if summary["data_note"]:
        print(f"*** {summary['data_note']}: these scores say nothing about Fashion-MNIST ***")
    if "test" in summary:
        print(f"report: {Run(folder).report_html}")
    print(f"run: {folder}", flush=True)
