"""Prepares a run: its images, model and trainer, and the checkpoint from which it resumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights
from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.provenance import provenance, timestamp
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer, choose_precision
from fmnist_lightning.training.distillation import find_distillation
from fmnist_lightning.training.hardware import tune_malloc
from fmnist_lightning.training.last_checkpoint import epoch_rows, find_resumable_checkpoint
from fmnist_lightning.training.stages import ShowStage

RESULTS = ("test", "val", "best_epoch", "monitored", "calibration", "error")  # entries of a summary


@dataclass
class PreparedRun:
    """What a run trains with."""

    datamodule: FashionMNISTData
    model: Classifier
    trainer: pl.Trainer
    checkpoint: Path | None  # from which it resumes
    completed_epochs: int  # in that checkpoint


def read_previous(run: Run) -> dict[str, Any]:
    """The summary of a run that is resumed, without results; empty if a kill or a full disk damaged it."""
    try:
        summary = run.read_summary()
    except ValueError as error:
        print(f"{error}; it is rewritten", flush=True)
        return {}
    return {name: value for name, value in summary.items() if name not in RESULTS}


def prepare(
    cfg: DictConfig,
    run: Run,
    previous: dict[str, Any],
    resume: bool,
    show_stage: ShowStage,
    callbacks: Sequence[Callback] = (),
) -> PreparedRun:
    """Loads the data, builds model and trainer, chooses the checkpoint to resume from.

    `previous` is the summary so far of a run that is resumed; `show_stage` is called at the start of each stage;
    `callbacks` are added to those of the configuration.
    """
    tune_malloc()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    show_stage("loading the data")
    datamodule: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    datamodule.seed = cfg.seed
    datamodule.setup()
    # a run resumes with its own images only; the summary of one killed early has no fingerprints
    datamodule.check_images(datamodule.state_dict() | previous, f"resume={run.folder}")
    show_stage("starting training")
    model = build_model(cfg)
    checkpoint, completed_epochs = _choose_checkpoint(run, model) if resume else (None, 0)
    # a resumed run keeps its precision, even where another one is faster on this machine
    precision = previous.get("precision") or choose_precision(cfg, model)
    trainer = build_trainer(cfg, run, precision, previous.get("logger_runs"), callbacks)
    if distillation := find_distillation(trainer):
        distillation.check_resume(previous.get("teachers"))
    if trainer.global_rank > 0:  # else each process would drop the same units
        torch.manual_seed(cfg.seed + trainer.global_rank)
    return PreparedRun(datamodule, model, trainer, checkpoint, completed_epochs)


def _choose_checkpoint(run: Run, model: Classifier) -> tuple[Path | None, int]:
    """The checkpoint to resume from, and how many epochs it has; without one the run restarts from scratch."""
    path, checkpoint, warnings = find_resumable_checkpoint(run)
    if is_rank_zero():
        for warning in warnings:
            print(warning, flush=True)
    if path is None:
        if is_rank_zero():
            _restart_from_scratch(run)
        return None, 0
    load_weights(model, checkpoint, path)  # rejects weights of another model
    completed_epochs = len(epoch_rows(checkpoint))
    if is_rank_zero():
        print(f"resuming after epoch {completed_epochs} from {relative_path(path)}", flush=True)
    return path, completed_epochs


def _restart_from_scratch(run: Run) -> None:
    print(f"restarting from scratch in {relative_path(run.folder)}", flush=True)
    for file in [run.metrics_csv, *run.checkpoints.glob("*.ckpt*")]:
        file.unlink(missing_ok=True)


def summary_entries(
    prepared: PreparedRun, cfg: DictConfig, previous: dict[str, Any], overrides: Sequence[str], resume: bool
) -> dict[str, Any]:
    """Entries of the summary about model, data and provenance; a resumed run keeps its first one and appends."""
    model, trainer = prepared.model, prepared.trainer
    origin = provenance(trainer.strategy.root_device, str(trainer.precision))
    summary = {
        "model": type(model).__name__.lower(),
        "parameters": model.num_parameters,
        **prepared.datamodule.dataset_info,
    }
    summary |= origin | {name: previous[name] for name in origin if name in previous}
    if resume:
        part = {
            "started": timestamp(),
            "after_epoch": prepared.completed_epochs,
            "overrides": list(overrides),
            **origin,
        }
        # still the stored config's, should the run end between writing its summary and its config
        part["previous_config_sha256"] = previous.get("config_sha256")
        summary["resumed"] = [*previous.get("resumed", []), part]
    if distillation := find_distillation(trainer):
        summary["teachers"] = distillation.teachers()
    per_step = cfg.data.batch_size * trainer.world_size
    num_batches = {stage: -(-summary["split"][stage] // per_step) for stage in ("train", "val")}
    return summary | {"partial": partial_overrides(cfg.trainer, num_batches)}


def partial_overrides(trainer: Mapping[str, Any], num_batches: Mapping[str, int]) -> str | None:
    """The overrides that limit training or validation to a part of the data; None for a full run.

    Args:
        trainer: cfg.trainer.
        num_batches: of an epoch, by stage: train, val.
    """

    def is_limit(key: str, value: Any) -> bool:
        if key in ("limit_train_batches", "limit_val_batches"):
            whole = num_batches[key.split("_")[1]]
            return bool(value < 1.0 if isinstance(value, float) else value is not None and value < whole)
        unlimited: tuple[Any, ...] = {"max_steps": (-1,), "max_time": (None,)}.get(key, (False, 0))
        return key in ("overfit_batches", "fast_dev_run", "max_steps", "max_time") and value not in unlimited

    limits = [f"trainer.{key}={to_override(value)}" for key, value in trainer.items() if is_limit(key, value)]
    return ", ".join(limits) or None
