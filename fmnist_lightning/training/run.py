"""One run: fit, test the best checkpoint, hand its predictions to evaluation.

What draws and scores is imported when there is something to draw and score: training starts sooner and in less memory.
"""

import gc
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from fmnist_lightning.config.errors import Interrupted, format_error
from fmnist_lightning.config.partial import partial_overrides
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.config.validate import without_hydra
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights
from fmnist_lightning.runs.provenance import config_sha256, provenance
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer, choose_precision, make_trainer, quiet
from fmnist_lightning.training.callbacks import TrimHeap, best_checkpoint
from fmnist_lightning.training.hardware import trim_heap, tune_malloc
from fmnist_lightning.training.loggers import finish_loggers, log_report, start_loggers
from fmnist_lightning.training.signals import StopOnDivergence, StopOnSignal
from fmnist_lightning.training.state import ProcessState, is_dev_run, newest_checkpoint, rows_of
from fmnist_lightning.training.status import RunStatus

log = logging.getLogger(__name__)


@dataclass
class Prepared:
    """What a run trains with."""

    data: FashionMNISTData
    model: Classifier
    trainer: pl.Trainer
    checkpoint: Path | None  # from which it resumes
    num_epochs: int  # in that checkpoint


def train(cfg: DictConfig, folder: str | Path, overrides: list[str], resume: bool = False) -> dict[str, Any]:
    """Trains, tests and reports one run.

    Args:
        cfg: a composed configuration.
        folder: the run's own; an existing run is never overwritten.
        overrides: as typed, for the summary.
        resume: whether to resume the run in the folder, from its last intact checkpoint.

    Returns:
        The summary, as written to the folder; an empty one in processes other than rank zero. Its status is `failed`
        if the loss diverged, and `interrupted` after Ctrl-C during training.

    Raises:
        ValueError: for a configuration that cannot run, naming the override to change.
        Interrupted: by any other signal.
    """
    run = Run(folder)
    previous = _read_previous(run) if resume else {}
    summary = {
        "seed": cfg.seed,
        "overrides": [*previous.get("overrides", []), *overrides],
        "config_sha256": config_sha256(cfg),
    }
    with StopOnSignal() as signals, ExitStack() as at_exit, RunStatus(run, summary) as status:
        if not resume:
            status.claim(cfg, overrides)
        signals.raise_at_once()
        prepared = _prepare(cfg, run, previous, resume)
        data, trainer = prepared.data, prepared.trainer
        status.summary |= _describe(prepared, previous, overrides, resume) | {"partial": _partial(cfg, data, trainer)}
        if resume:
            status.reopen(cfg)
        else:
            status.write()
        if is_rank_zero():
            at_exit.callback(finish_loggers, trainer.loggers, status.summary)
            _begin_tensorboard(cfg, trainer, status.summary)
            settings: Any = OmegaConf.to_container(without_hydra(cfg), resolve=True)
            with quiet():
                status.write(logger_runs=start_loggers(trainer.loggers, list(cfg.logger), settings, resume))
            log.info("training: %s", {name: status.summary[name] for name in ("model", "data", "device")})

        seconds, divergence = _fit(prepared, signals)
        if not is_rank_zero():
            return {}
        ctrl_c = signals.acknowledge_ctrl_c()
        signals.defer()
        status.summary |= {"fit_seconds": round(seconds, 2), "epochs": len(run.read_metrics())}
        if divergence:
            status.write(status="failed", error=format_error(divergence))
        elif ctrl_c:
            status.write(status="interrupted")

        scores = _evaluate_best(run, cfg, trainer, data, status.summary["epochs"], signals)
        outcome = status.summary["status"].replace("running", "completed")
        if scores:
            status.write(**scores)  # kept if the report fails
            _report(run, cfg, {**status.summary, "status": outcome}, trainer, data, signals)
        elif outcome == "completed":
            if not is_dev_run(trainer):
                raise ValueError("no epoch was completed, so there is no checkpoint to score and report")
            outcome = "partial"
        signals.raise_if_signalled()
        status.write(status=outcome)
        log.info("%s after %d epochs", outcome, status.summary["epochs"])
    return status.summary


def _read_previous(run: Run) -> dict[str, Any]:
    """The summary of a run that is resumed, without results; empty if a kill or a full disk damaged it."""
    try:
        summary = run.read_summary()
    except ValueError as error:
        print(f"{error}; it is written anew", flush=True)
        return {}
    results = ("test", "val", "best_epoch", "monitored", "error")
    return {name: value for name, value in summary.items() if name not in results}


def _prepare(cfg: DictConfig, run: Run, previous: dict[str, Any], resume: bool) -> Prepared:
    """Loads the data, builds model and trainer, chooses the checkpoint to resume from."""
    tune_malloc()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = _load_data(cfg, run, previous)
    model = build_model(cfg)
    checkpoint, num_epochs = _choose_checkpoint(run, model) if resume else (None, 0)
    # a resumed run keeps its precision, whatever is faster here
    precision = previous.get("precision") or choose_precision(cfg, model)
    trainer = build_trainer(cfg, run, precision, previous.get("logger_runs"))
    if trainer.global_rank > 0:  # else each process would drop the same units
        torch.manual_seed(cfg.seed + trainer.global_rank)
    return Prepared(data, model, trainer, checkpoint, num_epochs)


def _describe(prepared: Prepared, previous: dict[str, Any], overrides: list[str], resume: bool) -> dict[str, Any]:
    """What the summary says of model, data and origin; a resumed run keeps its first origin and adds this one."""
    model, trainer = prepared.model, prepared.trainer
    origin = provenance(trainer.strategy.root_device, str(trainer.precision))
    summary = {"model": type(model).__name__.lower(), "parameters": model.num_parameters, **prepared.data.facts}
    summary |= origin | {name: previous[name] for name in origin if name in previous}
    if resume:
        part = {"after_epoch": prepared.num_epochs, "overrides": overrides, **origin}
        # still the stored config's, should the run end between writing its summary and its config
        part["previous_config_sha256"] = previous.get("config_sha256")
        summary["resumed"] = [*previous.get("resumed", []), part]
    return summary


def _load_data(cfg: DictConfig, run: Run, previous: dict[str, Any]) -> FashionMNISTData:
    """The images in the seed's order; a run is resumed with its own images only."""
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.seed = cfg.seed
    data.setup()
    for fingerprint in ("data_sha256", "split_sha256"):
        if previous.get(fingerprint, data.facts[fingerprint]) != data.facts[fingerprint]:
            raise ValueError(f"resume={run.folder}: these are not its images, {fingerprint} differs; set data.root")
    return data


def _choose_checkpoint(run: Run, model: Classifier) -> tuple[Path | None, int]:
    """The checkpoint to resume from, and how many epochs it has; without one the run restarts from scratch."""
    path, checkpoint, complaints = newest_checkpoint(run)
    num_epochs = len(rows_of(checkpoint)) if path else 0
    if path:
        load_weights(model, checkpoint, path)  # refuses another model's
    if is_rank_zero():
        for complaint in complaints:
            print(complaint, flush=True)
        print(
            f"resuming after epoch {num_epochs} from {path}" if path else f"restarting from scratch in {run.folder}",
            flush=True,
        )
        if path is None:
            for file in [run.metrics_csv, *run.checkpoints.glob("*.ckpt*")]:
                file.unlink(missing_ok=True)
    return path, num_epochs


def _fit(prepared: Prepared, signals: StopOnSignal) -> tuple[float, FloatingPointError | None]:
    """Fits; the seconds of training in total, and the error if the loss diverged."""
    checkpoint = prepared.checkpoint
    state = ProcessState(resumed=checkpoint is not None)
    divergence = None
    try:
        fit(prepared.trainer, prepared.model, prepared.data, [state, StopOnDivergence(), signals], checkpoint)
    except FloatingPointError as error:
        log.info("the run failed", exc_info=error)
        divergence = error
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if checkpoint and not state.begun:  # a checkpoint may hold anything
            raise ValueError(f"{checkpoint}: cannot resume from it ({format_error(error)})") from error
        raise
    return state.seconds, divergence


def fit(
    trainer: pl.Trainer,
    model: Classifier,
    data: FashionMNISTData,
    callbacks: Sequence[Callback] = (),
    checkpoint: Path | None = None,
) -> None:
    """Fits; returns early when a signal stops training.

    Args:
        trainer: of the run.
        model: to train.
        data: to train it on.
        callbacks: that are not part of the configuration.
        checkpoint: to resume from.

    Raises:
        FloatingPointError: the loss diverged.
    """
    trainer.callbacks.extend([*callbacks, TrimHeap()])  # type: ignore[attr-defined]
    with quiet():
        # the garbage collector need not walk the million objects of the libraries again and again: a tenth of an
        # epoch of the ANN
        gc.freeze()
        try:
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except Interrupted:
            pass
        finally:
            gc.unfreeze()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # rank zero alone scores: on one device


def _evaluate_best(
    run: Run, cfg: DictConfig, trainer: pl.Trainer, data: FashionMNISTData, num_epochs: int, signals: StopOnSignal
) -> dict[str, Any]:
    """Scores the best checkpoint and writes the predictions; what the summary says of them.

    Empty if there is none, or if it is of a later epoch than the run has: the run was killed right after writing it,
    and when resumed was stopped before that epoch.
    """
    from fmnist_lightning.evaluation.scores import score

    if not run.best_checkpoint.exists():
        return {}
    model, checkpoint = run.load_best(cfg)
    if checkpoint["epoch"] + 1 > num_epochs:
        return {}
    device = trainer.strategy.root_device
    devices = [device.index] if device.index is not None else 1
    val, logits = test(model, data, trainer.precision, device.type, devices, [signals])
    labels = data.labels["test"]
    run.write_predictions(labels, logits.softmax(dim=1))
    trim_heap()  # before the report allocates its own
    return {
        "best_epoch": checkpoint["epoch"] + 1,
        "monitored": _monitored(trainer),
        "val": val,
        "test": score(logits, labels, data.class_names),
    }


def _monitored(trainer: pl.Trainer) -> dict[str, Any]:
    """The metric that chose best.ckpt, its mode, and its value as the callback saw it, under limit_val_batches too."""
    best = best_checkpoint(trainer)
    assert best is not None
    assert best.best_model_score is not None
    return {"metric": best.monitor, "mode": best.mode, "value": round(best.best_model_score.item(), 6)}


def test(
    model: Classifier,
    data: FashionMNISTData,
    precision: Any = "32-true",
    accelerator: str = "auto",
    devices: list[int] | int = 1,
    callbacks: Sequence[Callback] = (),
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
            callbacks=list(callbacks),
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


def _partial(cfg: DictConfig, data: FashionMNISTData, trainer: pl.Trainer) -> str | None:
    """The overrides under which the run trains or validates on a part of its data."""
    per_step = cfg.data.batch_size * trainer.world_size
    num_batches = {stage: -(-data.facts["split"][stage] // per_step) for stage in ("train", "val")}
    return partial_overrides(cfg.trainer, num_batches)


def _begin_tensorboard(cfg: DictConfig, trainer: pl.Trainer, summary: dict[str, Any]) -> None:
    for logger in _tensorboards(trainer):
        from fmnist_lightning.evaluation import tensorboard

        tensorboard.begin_run(logger.experiment, tensorboard.settings(cfg, summary))


def _tensorboards(trainer: pl.Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _report(
    run: Run,
    cfg: DictConfig,
    summary: dict[str, Any],
    trainer: pl.Trainer,
    data: FashionMNISTData,
    signals: StopOnSignal,
) -> None:
    """Writes the report and logs it to TensorBoard.

    Raises:
        ValueError: that failed; the message says where the scores are and how to write the report again.
    """
    try:
        _write_report(run, cfg, summary, trainer, data, signals)
    except OSError:  # names its file
        raise
    except Exception as error:
        raise ValueError(
            f"the report failed ({format_error(error)}); test accuracy {summary['test']['accuracy']:.4f}, all scores "
            f"are in {run.summary_json}; resume={run.folder} writes the report"
        ) from error


def _write_report(
    run: Run,
    cfg: DictConfig,
    summary: dict[str, Any],
    trainer: pl.Trainer,
    data: FashionMNISTData,
    signals: StopOnSignal,
) -> None:
    from fmnist_lightning.evaluation.report import build_report

    predictions = run.read_predictions()
    files = build_report(summary, run.read_metrics(), predictions, data.images["test"], data.class_names)
    run.write_report(files)
    signals.raise_if_signalled()
    for logger in trainer.loggers:
        if not isinstance(logger, TensorBoardLogger):
            log_report(logger, summary, run)
            continue
        from fmnist_lightning.evaluation import tensorboard

        config, names, writer = run.config_file.read_text(encoding="utf-8"), data.class_names, logger.experiment
        tensorboard.end_run(writer, summary, predictions, files, config, names)
        signals.raise_if_signalled()
        pixels, labels = (of["test"][: tensorboard.NUM_FEATURES] for of in (data.images, data.labels))
        model, _ = run.load_best(cfg)
        inputs, _ = data.on_after_batch_transfer((pixels, labels), 0)
        tensorboard.show_network(writer, model.network, pixels, inputs, labels, names)
        logger.finalize("success")
