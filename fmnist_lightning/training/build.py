"""From a composed configuration to its model and its trainer."""

import inspect
import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fmnist_lightning.config.monitored import mode_contradiction, resolve_mode
from fmnist_lightning.config.processes import (
    ignore_foreign_ranks,
    is_rank_zero,
    launched_by_torchrun,
    mark_child_processes,
)
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import AtomicCheckpointIO
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build_loggers import build_loggers
from fmnist_lightning.training.hardware import has_fast_bfloat16
from fmnist_lightning.training.validation import ValidateEveryEpoch

ADVICE = (  # warnings of Lightning that do not apply here
    ".*does not have many workers",  # workers are slower than one gather per batch
    ".*is smaller than the logging interval",  # nothing is logged per step
    "Checkpoint directory .* exists and is not empty",  # a run that resumes
    "Experiment logs directory .* exists and is not empty",  # of a run that resumes
    "GPU available but not used",  # accelerator=cpu is explicit
    ".*isinstance.treespec, LeafSpec.",  # Lightning 2.6 uses a form that torch 2.11 deprecated
)

log = logging.getLogger(__name__)


def build_model(cfg: DictConfig) -> Classifier:
    """The model of a configuration, with its optimizer and scheduler."""
    optimizer = instantiate(cfg.optimizer, _convert_="all")
    scheduler = instantiate(cfg.scheduler, _convert_="all") or None
    model: Classifier = instantiate(cfg.model, optimizer=optimizer, scheduler=scheduler, _convert_="all")
    return model


def choose_precision(cfg: DictConfig, model: Classifier) -> Any:
    """The precision of a configuration; for auto bfloat16 if it is faster, else float32.

    It is faster if the hardware supports it and the model has convolutions: autocast costs a small dense network more
    than it gains. Lightning does not clip gradients in mixed precision with fused optimizers.
    """
    if cfg.trainer.precision != "auto":
        return cfg.trainer.precision
    convolves = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
    is_faster = convolves and cfg.trainer.gradient_clip_val is None and has_fast_bfloat16(cfg.trainer.accelerator)
    return "bf16-mixed" if is_faster else "32-true"


def build_trainer(
    cfg: DictConfig,
    run: Run,
    precision: Any,
    run_ids: Mapping[str, str] | None = None,
    callbacks: Sequence[Callback] = (),
) -> pl.Trainer:
    """The trainer of a configuration, whose callbacks and loggers write to the run directory.

    Args:
        cfg: a composed configuration.
        run: in whose directory they write.
        precision: as trainer.precision, auto excluded.
        run_ids: of a resumed run, the MLflow and wandb runs to continue, by the logger's name.
        callbacks: added to those of the configuration.
    """
    if contradiction := mode_contradiction(cfg.callbacks):
        raise ValueError(contradiction)
    configured = [instantiate(callback, **resolve_mode(callback)) for callback in cfg.callbacks.values()]
    for callback in configured:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(run.checkpoints.absolute())
    arguments: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    with quiet():
        trainer = make_trainer(
            **{**arguments, "precision": precision, "profiler": _profiler(arguments.get("profiler"), run)},
            callbacks=[ValidateEveryEpoch(), *configured, *callbacks],
            logger=build_loggers(cfg, run, run_ids or {}),
            plugins=[AtomicCheckpointIO(run.checkpoints), cluster_environment()],
            default_root_dir=run.folder,
            enable_progress_bar=False,  # Lightning's; see training/progress.py
            enable_model_summary=False,
            use_distributed_sampler=False,  # data/batches.py distributes the images
        )
    if trainer.world_size > 1:
        mark_child_processes()
    return trainer


def cluster_environment() -> ClusterEnvironment:
    """Rank and world size for a Trainer, as the process was launched.

    Lightning's own detection mistakes SLURM_NTASKS or RANK in an interactive shell for a run of several processes.
    """
    ignore_foreign_ranks()
    if is_rank_zero():
        rank_zero_only.rank = 0  # type: ignore[attr-defined] # taken from the environment when Lightning was imported
    return TorchElasticEnvironment() if launched_by_torchrun() else LightningEnvironment()


def make_trainer(**arguments: Any) -> pl.Trainer:
    """A Trainer of these arguments and Lightning's defaults, whatever PL_TRAINER_* environment variables say."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(pl.Trainer).parameters.items()}
    return pl.Trainer(**defaults | arguments)


def _profiler(name: str | None, run: Run) -> Profiler | None:
    """Lightning's profiler of that name; its table, fit-profile.txt, is written to the run directory."""
    profilers = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return profilers[name](dirpath=run.folder, filename="profile") if name else None


@contextmanager
def quiet() -> Iterator[None]:
    """Hides Lightning's messages about devices, its tips, and the warnings in ADVICE."""
    levels = {name: logging.getLogger(name).level for name in ("lightning.pytorch", "lightning.fabric")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    in_threads = threading.excepthook
    # an error in TensorBoard's thread is raised by its next write, and reported there
    threading.excepthook = lambda failed: log.info("a thread failed", exc_info=failed.exc_value)
    try:
        with warnings.catch_warnings():
            for advice in ADVICE:
                warnings.filterwarnings("ignore", message=advice)
            yield
    finally:
        threading.excepthook = in_threads
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
