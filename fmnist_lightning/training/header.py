"""What is printed before the first epoch: what is trained, on which images, with which settings."""

import lightning.pytorch as pl
import torch

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.choice import name_choice
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.provenance import device_name
from fmnist_lightning.training.averaging import EMA
from fmnist_lightning.training.callbacks import best_checkpoint
from fmnist_lightning.training.distillation import find_distillation

FEW_BATCHES = 2  # per epoch; with more there is no warning


def header(trainer: pl.Trainer, model: Classifier) -> list[str]:
    """The lines of the header, in 80 columns except for a long run directory; called when training starts."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, FashionMNISTData)
    split = data.dataset_info["split"]
    steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
    processes = f", {trainer.world_size} processes" if trainer.world_size > 1 else ""
    rows = {
        "model": f"{type(model).__name__}, {model.num_parameters:,} parameters",
        "data": f"{data.dataset_info['data_note'] or 'Fashion-MNIST'}, {_augmentation(data)}",
        "loss": _loss(trainer, model),
        "split": f"{split['train']:,} training, {split['val']:,} validation, {split['test']:,} test images",
        "device": _device(trainer.strategy.root_device) + processes,
        "precision": str(trainer.precision),
        "optimizer": _optimizer(trainer),
        "batch size": f"{data.batch_size:,}{' per process' * bool(processes)}, {_per_epoch(steps)}",
        "epochs": _epochs(trainer),
        "run": str(relative_path(trainer.default_root_dir)),
    }
    best = best_checkpoint(trainer)
    if best is not None:
        choice = name_choice({"metric": best.monitor, "mode": best.mode})
        rows["*"] = f"{choice} so far; the epoch with the last * is tested"
    lines = [f"{name:<10} {value}" for name, value in rows.items()]
    if -(-split["train"] // (data.batch_size * trainer.world_size)) <= FEW_BATCHES:
        lines += [f"warning: data.batch_size={data.batch_size} gives {_per_epoch(steps)};"]
        lines += ["         a smaller batch size usually learns more from each epoch"]
    return lines


def _per_epoch(steps: int) -> str:
    return f"{steps:,} step{'s' * (steps != 1)} per epoch"


def _device(device: torch.device) -> str:
    num = torch.get_num_threads()
    return f"{device} ({device_name(device)})" + (f", {num} thread{'s' * (num > 1)}" if device.type == "cpu" else "")


def _augmentation(data: FashionMNISTData) -> str:
    names = ["flip", "crop"] if data.augment is True else [data.augment] if data.augment == "photos" else data.augment
    return f"augmentation: {', '.join(names)}" if names else "no augmentation"


def _loss(trainer: pl.Trainer, model: Classifier) -> str:
    smoothing = f", label smoothing {model.label_smoothing:g}" if model.label_smoothing else ""
    distillation = find_distillation(trainer)
    num = len(distillation.runs) if distillation else 0
    return "cross-entropy" + smoothing + (f", distillation from {num} teacher{'s' * (num > 1)}" if num else "")


def _optimizer(trainer: pl.Trainer) -> str:
    (optimizer,) = trainer.optimizers
    schedulers = [type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs]
    averaging: str = ", averaged weights" * any(isinstance(each, EMA) for each in trainer.callbacks)  # type: ignore[attr-defined]
    # a scheduler has already changed the learning rate of the first step
    lr = f"learning rate {optimizer.defaults['lr']:g}"
    return f"{type(optimizer).__name__}, {lr}, {', '.join(schedulers) or 'no scheduler'}" + averaging


def _epochs(trainer: pl.Trainer) -> str:
    limits = [] if trainer.max_epochs in (None, -1) else [str(trainer.max_epochs)]
    limits += [] if trainer.max_steps == -1 else [f"{trainer.max_steps:,} steps"]
    stoppers = [f"patience {each.patience} on {each.monitor}" for each in trainer.early_stopping_callbacks]
    early_stopping = f"early stopping with {' and '.join(stoppers)}" if stoppers else "no early stopping"
    return f"at most {' or '.join(limits)}, {early_stopping}" if limits else early_stopping
