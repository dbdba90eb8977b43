"""One run: fit, test the best checkpoint, hand its predictions to evaluation.

What draws and scores is imported when there is something to draw and score: training starts sooner and in less memory.
"""

import gc
import logging
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.build import build_model, build_trainer, choose_precision, make_trainer, quiet
from fmnist_lightning.callbacks import GiveBackMemory
from fmnist_lightning.checkpoints import load_weights
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.devices import give_back_freed_memory, keep_freed_memory
from fmnist_lightning.errors import Interrupted, one_line
from fmnist_lightning.models import Classifier
from fmnist_lightning.processes import is_rank_zero
from fmnist_lightning.provenance import config_sha256, provenance
from fmnist_lightning.runs import Run
from fmnist_lightning.stopping import Interruption, StopWhereLossDiverges
from fmnist_lightning.training_state import ProcessState, newest_checkpoint, rows_of

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: str | Path, overrides: list[str], resume: bool = False) -> dict[str, Any]:
    """Trains, tests and reports one run.

    Args:
        cfg: a composed configuration.
        folder: the run's own; a run that is already there is never overwritten.
        overrides: as typed, for the summary.
        resume: whether the run that is in the folder goes on, from its newest whole checkpoint.

    Returns:
        The summary, as written to the folder; an empty one on a process other than the first. Its status is `failed`
        where a loss was no number.

    Raises:
        ValueError: for a configuration that cannot run, naming the override to change.
        Interrupted: a signal came. After Ctrl-C within training the summary is returned, its status `interrupted`.
    """
    run = Run(folder)
    first = is_rank_zero()
    before = _before(run) if resume else {}
    summary: dict[str, Any] = {"status": "running", "seed": cfg.seed}
    summary |= {"overrides": [*before.get("overrides", []), *overrides], "config_sha256": config_sha256(cfg)}
    if first and not resume:
        run.claim(summary, cfg)
    opened = not resume  # a run that cannot go on stays as it is
    with Interruption() as interruption:
        try:
            keep_freed_memory()
            pl.seed_everything(cfg.seed, workers=True, verbose=False)
            data = _load_data(cfg, run, before)
            model = build_model(cfg)
            checkpoint, num_epochs = _choose_checkpoint(run, model, first) if resume else (None, 0)
            # it goes on in the precision in which it began, whatever is faster here
            precision = before.get("precision") or choose_precision(cfg, model)
            trainer = build_trainer(cfg, run, precision)
            if trainer.global_rank > 0:  # else each process would drop the same units
                torch.manual_seed(cfg.seed + trainer.global_rank)
            summary |= {"model": type(model).__name__.lower(), "parameters": model.num_parameters}
            origin = provenance(trainer.strategy.root_device, str(trainer.precision))
            # a run that goes on keeps where its first part came from, and adds where this one does
            summary |= data.facts | origin | {name: before[name] for name in origin if name in before}
            if resume:
                this_time = {"after_epoch": num_epochs, "overrides": overrides, **origin}
                summary["resumed"] = [*before.get("resumed", []), this_time]
            opened = True
            if first:
                run.reopen(summary, cfg) if resume else run.write_summary(summary)
                _begin_tensorboard(cfg, trainer, summary)
                log.info("training the %s on %s, on %s", summary["model"], summary["data"], summary["device"])
            state = ProcessState(resumed=checkpoint is not None)
            not_finite = None
            try:
                fit(trainer, model, data, [state, StopWhereLossDiverges(), interruption], checkpoint)
            except FloatingPointError as error:
                log.info("the run failed", exc_info=error)
                not_finite = error
            except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
                if checkpoint and not state.begun:  # what a file from elsewhere can hold has no bounds
                    raise ValueError(f"{checkpoint}: no run goes on from it ({one_line(error)})") from error
                raise
            summary |= {"fit_seconds": round(state.seconds, 2), "epochs": len(run.read_metrics())}
            if not first:
                return {}
            ctrl_c = interruption.number == signal.SIGINT  # in training: what was learned is reported
            if not ctrl_c:
                interruption.look()
            interruption.number = 0
            if run.best_checkpoint.exists():
                summary |= _conclude(run, cfg, trainer, data, summary["epochs"])
                give_back_freed_memory()  # before the report takes its own
            summary["status"] = "failed" if not_finite else "interrupted" if ctrl_c else "completed"
            if not_finite:
                summary["error"] = one_line(not_finite)
            if "test" in summary:
                run.write_summary(summary | {"status": "running"})  # the scores are kept if the report fails
                _report(run, cfg, summary, trainer, data)
            interruption.look()
            run.write_summary(summary)
            log.info("%s after %d epochs", summary["status"], summary["epochs"])
        except BaseException as caught:
            ending = Interrupted(interruption.number) if interruption.caused(caught) else caught
            if isinstance(ending, OSError) and ending.errno and ending.filename is None:  # TensorBoard's names no file
                ending.filename = str(run.folder)
            if first and opened:
                status = "failed" if isinstance(ending, Exception) else "interrupted"
                with suppress(OSError):  # where the disk is full, that is what is told, not that it cannot be noted
                    run.write_summary(summary | {"status": status, "error": one_line(ending)})
            if ending is caught:
                raise
            log.info("at the signal", exc_info=caught)
            raise ending from caught
    return summary


def _before(run: Run) -> dict[str, Any]:
    """What the summary of a run says that goes on; nothing where a kill or a full disk damaged it."""
    try:
        summary = run.read_summary()
    except ValueError as error:
        print(f"{error}; it is written anew", flush=True)
        return {}
    # results of the part before are not those of the whole
    return {
        name: value
        for name, value in summary.items()
        if name not in ("test", "val", "best_epoch", "monitored", "error")
    }


def _load_data(cfg: DictConfig, run: Run, before: dict[str, Any]) -> FashionMNISTData:
    """The images in the seed's order; a run that goes on does so on its own alone."""
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.seed = cfg.seed
    data.setup()
    for fingerprint in ("data_sha256", "split_sha256"):
        if before.get(fingerprint, data.facts[fingerprint]) != data.facts[fingerprint]:
            raise ValueError(f"resume={run.folder}: these are not its images, {fingerprint} differs; set data.root")
    return data


def _choose_checkpoint(run: Run, model: Classifier, first: bool) -> tuple[Path | None, int]:
    """The checkpoint that the run goes on from, and how many epochs it has; else what is left of the run is removed."""
    path, checkpoint, complaints = newest_checkpoint(run)
    num_epochs = len(rows_of(checkpoint)) if path else 0
    if path:
        load_weights(model, checkpoint, path)  # refuses another model's
    if first:
        for complaint in complaints:
            print(complaint, flush=True)
        print(
            f"going on after epoch {num_epochs}, from {path}" if path else f"beginning again in {run.folder}",
            flush=True,
        )
        if path is None:
            for file in [run.metrics_csv, *run.checkpoints.glob("*.ckpt*")]:
                file.unlink(missing_ok=True)
    return path, num_epochs


def fit(
    trainer: pl.Trainer,
    model: Classifier,
    data: FashionMNISTData,
    callbacks: Sequence[Callback] = (),
    checkpoint: Path | None = None,
) -> None:
    """Fits; ends early at a signal, which Ctrl-C makes too, and keeps what was learned.

    Args:
        trainer: of the run.
        model: that learns.
        data: that it learns from.
        callbacks: that are no choice of the configuration.
        checkpoint: that training goes on from.

    Raises:
        FloatingPointError: a loss is no finite number, or past return.
    """
    trainer.callbacks.extend([*callbacks, GiveBackMemory()])  # type: ignore[attr-defined]
    with quiet():
        # the garbage collector need not walk the million objects of the libraries again and again: a tenth of an
        # epoch of the ANN
        gc.freeze()
        try:
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except Interrupted:
            pass
        except RuntimeError:  # a process whose partner stopped first
            if not any(callback.number for callback in callbacks if isinstance(callback, Interruption)):
                raise
        finally:
            gc.unfreeze()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # the first process goes on alone: one device scores


def _conclude(
    run: Run, cfg: DictConfig, trainer: pl.Trainer, data: FashionMNISTData, num_epochs: int
) -> dict[str, Any]:
    """Scores the best checkpoint and writes the predictions; what the summary says of them.

    Nothing where it is of a later epoch than the run has: it was killed right after it had written that, and stopped
    again before it came as far.
    """
    from fmnist_lightning.evaluation.scores import score

    model, checkpoint = run.load_best(cfg)
    if checkpoint["epoch"] + 1 > num_epochs:
        return {}
    device = trainer.strategy.root_device
    devices = [device.index] if device.index is not None else 1
    val, logits = test(model, data, trainer.precision, device.type, devices)
    labels = data.labels["test"]
    run.write_predictions(labels, logits.softmax(dim=1))
    return {
        "best_epoch": checkpoint["epoch"] + 1,
        "monitored": _monitored(trainer),
        "val": val,
        "test": score(logits, labels, data.class_names),
    }


def _monitored(trainer: pl.Trainer) -> dict[str, Any]:
    """The metric that chose best.ckpt, its mode, and its value as the callback saw it, under limit_val_batches too."""
    (best,) = (
        callback
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.filename == "best"
    )
    assert best.best_model_score is not None
    return {"metric": best.monitor, "mode": best.mode, "value": round(best.best_model_score.item(), 6)}


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
    with quiet():
        trainer = make_trainer(
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[LightningEnvironment()],  # one process scores, however many trained
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
    """Writes the report and logs it to TensorBoard.

    Raises:
        ValueError: that failed; the message says where the scores are and how to write the report again.
    """
    try:
        _write_report(run, cfg, summary, trainer, data)
    except OSError:  # names its file
        raise
    except Exception as error:
        raise ValueError(
            f"the report failed ({one_line(error)}); test accuracy {summary['test']['accuracy']:.4f}, all scores are "
            f"in {run.summary_json}; resume={run.folder} writes the report"
        ) from error


def _write_report(
    run: Run, cfg: DictConfig, summary: dict[str, Any], trainer: pl.Trainer, data: FashionMNISTData
) -> None:
    from fmnist_lightning.evaluation.report import build_report

    predictions = run.read_predictions()
    files = build_report(summary, run.read_metrics(), predictions, data.images["test"], data.class_names)
    run.write_report(files)
    for logger in _tensorboards(trainer):
        from fmnist_lightning import tensorboard

        config, names, writer = run.config_file.read_text(encoding="utf-8"), data.class_names, logger.experiment
        tensorboard.end_run(writer, summary, predictions, files, config, names)
        pixels, labels = (of["test"][: tensorboard.NUM_FEATURES] for of in (data.images, data.labels))
        model, _ = run.load_best(cfg)
        inputs, _ = data.on_after_batch_transfer((pixels, labels), 0)
        tensorboard.show_network(writer, model.network, pixels, inputs, labels, names)
        logger.finalize("success")
