"""What a run trains with: its images, model and trainer, and the checkpoint from which it resumes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from fmnist_lightning.config.partial import partial_overrides
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights
from fmnist_lightning.runs.provenance import provenance
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer, choose_precision
from fmnist_lightning.training.hardware import tune_malloc
from fmnist_lightning.training.last_checkpoint import newest_checkpoint, rows_of

RESULTS = ("test", "val", "best_epoch", "monitored", "error")  # entries of a summary


@dataclass
class PreparedRun:
    """What a run trains with."""

    data: FashionMNISTData
    model: Classifier
    trainer: pl.Trainer
    checkpoint: Path | None  # from which it resumes
    num_epochs: int  # in that checkpoint


def read_previous(run: Run) -> dict[str, Any]:
    """The summary of a run that is resumed, without results; empty if a kill or a full disk damaged it."""
    try:
        summary = run.read_summary()
    except ValueError as error:
        print(f"{error}; it is rewritten", flush=True)
        return {}
    return {name: value for name, value in summary.items() if name not in RESULTS}


def prepare(
    cfg: DictConfig, run: Run, previous: dict[str, Any], resume: bool, callbacks: Sequence[Callback] = ()
) -> PreparedRun:
    """Loads the data, builds model and trainer, chooses the checkpoint to resume from.

    Args:
        cfg: a composed configuration.
        run: in whose directory the trainer writes.
        previous: the summary so far of a run that is resumed.
        resume: whether it is.
        callbacks: added to those of the configuration.
    """
    tune_malloc()
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    data = _load_data(cfg, run, previous)
    model = build_model(cfg)
    checkpoint, num_epochs = _choose_checkpoint(run, model) if resume else (None, 0)
    # a resumed run keeps its precision, even where another one is faster on this machine
    precision = previous.get("precision") or choose_precision(cfg, model)
    trainer = build_trainer(cfg, run, precision, previous.get("logger_runs"), callbacks)
    if trainer.global_rank > 0:  # else each process would drop the same units
        torch.manual_seed(cfg.seed + trainer.global_rank)
    return PreparedRun(data, model, trainer, checkpoint, num_epochs)


def _load_data(cfg: DictConfig, run: Run, previous: dict[str, Any]) -> FashionMNISTData:
    """The images, shuffled by the run's seed; a run is resumed with its own images only."""
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.seed = cfg.seed
    data.setup()
    data.check_images(data.state_dict() | previous, f"resume={run.folder}")  # a summary may have no fingerprints yet
    return data


def _choose_checkpoint(run: Run, model: Classifier) -> tuple[Path | None, int]:
    """The checkpoint to resume from, and how many epochs it has; without one the run restarts from scratch."""
    path, checkpoint, complaints = newest_checkpoint(run)
    num_epochs = len(rows_of(checkpoint)) if path else 0
    if path:
        load_weights(model, checkpoint, path)  # rejects weights of another model
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


def describe(
    prepared: PreparedRun, cfg: DictConfig, previous: dict[str, Any], overrides: Sequence[str], resume: bool
) -> dict[str, Any]:
    """Entries of the summary about model, data and provenance.

    A resumed run keeps the provenance of its start and appends that of each resume.
    """
    model, trainer = prepared.model, prepared.trainer
    origin = provenance(trainer.strategy.root_device, str(trainer.precision))
    summary = {"model": type(model).__name__.lower(), "parameters": model.num_parameters, **prepared.data.dataset_info}
    summary |= origin | {name: previous[name] for name in origin if name in previous}
    if resume:
        part = {"after_epoch": prepared.num_epochs, "overrides": list(overrides), **origin}
        # still the stored config's, should the run end between writing its summary and its config
        part["previous_config_sha256"] = previous.get("config_sha256")
        summary["resumed"] = [*previous.get("resumed", []), part]
    return summary | {"partial": _partial(prepared, cfg)}


def _partial(prepared: PreparedRun, cfg: DictConfig) -> str | None:
    """The overrides under which the run trains or validates on a part of its data."""
    per_step = cfg.data.batch_size * prepared.trainer.world_size
    split = prepared.data.dataset_info["split"]
    return partial_overrides(cfg.trainer, {stage: -(-split[stage] // per_step) for stage in ("train", "val")})
