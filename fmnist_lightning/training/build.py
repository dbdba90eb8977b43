"""Builds the model and the trainer of a composed configuration."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as pl
from hydra.utils import instantiate
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    PassThroughProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
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
from fmnist_lightning.training.quiet import quiet
from fmnist_lightning.training.validation import ValidateEveryEpoch


def build_model(cfg: DictConfig) -> Classifier:
    """The model of a configuration, with its optimizer and scheduler."""
    optimizer = instantiate(cfg.optimizer, _convert_="all")
    scheduler = instantiate(cfg.scheduler, _convert_="all") or None
    model: Classifier = instantiate(cfg.model, optimizer=optimizer, scheduler=scheduler, _convert_="all")
    model._log_hyperparams = False  # the loggers receive the whole configuration, which includes them
    return model


def choose_precision(cfg: DictConfig, model: Classifier) -> Any:
    """The precision of a configuration; for auto bfloat16 for convolutions where the hardware has it, else float32.

    A dense network is faster in bfloat16 too, but its published results are in float32. Lightning does not clip
    gradients in mixed precision with fused optimizers.
    """
    if cfg.trainer.precision != "auto":
        return cfg.trainer.precision
    convolves = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
    mixed = convolves and cfg.trainer.gradient_clip_val is None and has_fast_bfloat16(cfg.trainer.accelerator)
    return "bf16-mixed" if mixed else "32-true"


def build_trainer(
    cfg: DictConfig,
    run: Run,
    precision: Any,
    run_ids: Mapping[str, str] | None = None,
    callbacks: Sequence[Callback] = (),
) -> pl.Trainer:
    """The trainer of a configuration, whose callbacks and loggers write to the run directory.

    `precision` excludes auto; `run_ids` are those of `start_loggers` if the run is resumed; `callbacks` are added to
    those of the configuration.
    """
    if contradiction := mode_contradiction(cfg.callbacks):
        raise ValueError(contradiction)
    configured = [instantiate(callback, **resolve_mode(callback)) for callback in cfg.callbacks.values()]
    for callback in configured:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(run.checkpoints.absolute())
    arguments: Any = OmegaConf.to_container(cfg.trainer, resolve=True)
    with quiet():
        trainer = trainer_without_environment(
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


def trainer_without_environment(**arguments: Any) -> pl.Trainer:
    """A Trainer of these arguments and Lightning's defaults; in a notebook PL_TRAINER_* variables may be set."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(pl.Trainer).parameters.items()}
    return pl.Trainer(**defaults | arguments)


class NoProfiler(PassThroughProfiler):
    """Lightning's default without its generator around each of the 50 hooks of a training step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> Any:
        return self._nothing


def _profiler(name: str | None, run: Run) -> Profiler:
    """Lightning's profiler of that name, which writes fit-profile.txt to the run directory; or none."""
    profilers = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return profilers[name](dirpath=run.folder, filename="profile") if name else NoProfiler()
