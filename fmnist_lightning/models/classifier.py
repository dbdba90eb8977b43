"""Trains every model: normalisation, cross-entropy, metrics, optimizer, scheduler."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.models.layers import Normalize
from fmnist_lightning.models.totals import EpochTotals

NUM_CLASSES = 10
Batch = tuple[Tensor, Tensor]  # images (N, 28, 28) uint8, labels (N,) int64; augmented: probabilities (N, 10)


class Classifier(pl.LightningModule):
    """A model from images to logits (N, 10), and how it learns.

    The images are uint8, or floating-point in [0, 1], and (N, 28, 28) or (N, 1, 28, 28). The first layer normalises
    them with mean and standard deviation of the training images, which checkpoints contain. The study ends its networks
    in softmax and log-softmax; cross-entropy on logits is the same function of the weights, and numerically stable.

    Args:
        network: from normalised images (N, 1, 28, 28) float32 to logits (N, 10).
        optimizer: from parameters to an optimizer: `functools.partial(torch.optim.SGD, lr=0.05)`; None is Adam.
        scheduler: from (optimizer, total_steps=...) to a scheduler, stepped after every optimizer step; None keeps the
            learning rate.
        label_smoothing: in training, this fraction of the target is spread evenly over the classes. It is part of
            train/loss, which is what training minimises, but not of val/loss and test/loss: plain cross-entropy.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        validate_values(model__label_smoothing=label_smoothing)
        super().__init__()
        self.normalize = Normalize()
        self.network = network
        self.optimizer, self.scheduler = optimizer, scheduler
        self.label_smoothing = label_smoothing
        # replaces the training loss, from (images, logits, labels); set by a callback, such as Distillation
        self.training_loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
        self.train_loss, self.train_accuracy = _mean(), _mean()
        self.val_loss, self.val_accuracy = _mean(), _mean()
        self.test_loss, self.test_accuracy = _mean(), _mean()
        self.totals = {stage: EpochTotals() for stage in ("train", "val", "test")}

    @property
    def num_parameters(self) -> int:
        """Trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of images, as described for the class."""
        logits: Tensor = self.network(self.normalize(images))
        return logits

    def setup(self, stage: str) -> None:
        """Takes mean and standard deviation from the datamodule, if it has them."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if stage == "fit" and hasattr(data, "mean"):
            self.normalize.set_mean_and_std(data.mean, data.std)

    def _step(self, batch: Batch, stage: str) -> Tensor:
        images, labels = batch
        logits = self(images).float()
        if stage == "train":
            loss = self.training_loss(images, logits, labels) if self.training_loss else self.smoothed(logits, labels)
        else:
            loss = F.cross_entropy(logits, labels)
        self.totals[stage].add(loss, logits, labels)
        return loss

    def smoothed(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy with label smoothing."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def stage_metrics(self, stage: str) -> dict[str, MeanMetric]:
        """The epoch's metrics `loss` and `accuracy`; also for callbacks, whose hooks Lightning calls before these."""
        metrics: tuple[MeanMetric, MeanMetric] = getattr(self, f"{stage}_loss"), getattr(self, f"{stage}_accuracy")
        self.totals[stage].update_metrics_and_reset(*metrics)
        return dict(zip(("loss", "accuracy"), metrics, strict=True))

    def _start_epoch(self, stage: str) -> None:
        self.totals[stage].reset(self.device)
        for name in ("loss", "accuracy"):
            getattr(self, f"{stage}_{name}").reset()  # of an epoch that ended with an error

    def _log_means(self, stage: str) -> None:
        # Lightning computes and resets them. Loggers receive one row per epoch, from the callback EpochMetrics.
        self.log_dict({f"{stage}/{name}": metric for name, metric in self.stage_metrics(stage).items()}, logger=False)

    def on_train_epoch_start(self) -> None:
        """Starts the totals; not called when training resumes within an epoch."""
        self._start_epoch("train")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of the batch: cross-entropy with label smoothing, or that of `training_loss`."""
        return self._step(batch, "train")

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Makes the gradient of an accumulation window the mean over its batches.

        Lightning divides by accumulate_grad_batches, also in an epoch's last window, which may have fewer batches.
        """
        window = self.trainer.accumulate_grad_batches
        first = self.trainer.fit_loop.batch_idx // window * window
        num_batches = min(window, self.trainer.num_training_batches - first)
        super().backward(loss if num_batches == window else loss * (window / num_batches), *args, **kwargs)

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's means, computed while the weights changed and with dropout."""
        self._log_means("train")

    def on_validation_epoch_start(self) -> None:
        self._start_epoch("val")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, "val")

    def on_validation_epoch_end(self) -> None:
        self._log_means("val")

    def on_test_epoch_start(self) -> None:
        self._start_epoch("test")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, "test")

    def on_test_epoch_end(self) -> None:
        self._log_means("test")

    def configure_optimizers(self) -> Any:
        """The optimizer, and the scheduler if there is one."""
        optimizer: Optimizer = (self.optimizer or torch.optim.Adam)(self.parameters())
        if self.scheduler is None:
            return optimizer
        total_steps = self.trainer.estimated_stepping_batches
        if total_steps in (float("inf"), -1):
            raise ValueError("scheduler: needs the number of steps; set trainer.max_epochs or max_steps")
        scheduler = self.scheduler(optimizer, total_steps=int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _mean() -> MeanMetric:
    # NaN counts as infinite: "disable" ignores the weights (torchmetrics issue 3434), "ignore" hides a NaN loss
    return MeanMetric(nan_strategy=float("inf"))
