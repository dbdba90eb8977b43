"""Fits a run, from the first step or a checkpoint to the last epoch, a signal or a diverged loss."""

import gc
import logging
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.config.errors import Interrupted, format_error
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.training.callbacks import TrimHeap
from fmnist_lightning.training.divergence import StopOnDivergence
from fmnist_lightning.training.hardware import skip_gpu_queries
from fmnist_lightning.training.prepare import PreparedRun
from fmnist_lightning.training.quiet import quiet
from fmnist_lightning.training.signals import StopOnSignal
from fmnist_lightning.training.state import TrainingState

log = logging.getLogger(__name__)


def fit_run(prepared: PreparedRun, signals: StopOnSignal) -> tuple[float, FloatingPointError | None]:
    """Fits a run; returns the seconds of training in total, and the error if the loss diverged.

    Raises:
        ValueError: the run cannot resume from its checkpoint.
    """
    checkpoint = prepared.checkpoint
    state = TrainingState()
    divergence = None
    try:
        fit(prepared.trainer, prepared.model, prepared.datamodule, [state, StopOnDivergence(), signals], checkpoint)
    except FloatingPointError as error:
        log.info("the run failed", exc_info=error)
        divergence = error
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if checkpoint and not state.restored:  # Lightning raises any of these for an invalid checkpoint
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
    """Fits, from a checkpoint if given; returns early when a signal stops training."""
    # appended behind the checkpoint callbacks, which a Trainer moves to the end: StopOnSignal ends a batch after all
    # others have recorded it
    trainer.callbacks.extend([*callbacks, TrimHeap()])  # type: ignore[attr-defined]
    skip_gpu_queries()
    with quiet():
        # keeps the garbage collector from scanning the million objects of the libraries: a tenth of an epoch of the ANN
        gc.freeze()
        try:
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except Interrupted:
            pass
        finally:
            gc.unfreeze()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # rank zero alone scores: on one device
