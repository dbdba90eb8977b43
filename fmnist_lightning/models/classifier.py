"""How every model learns: cross-entropy, running metrics, optimizer, scheduler. What learns is in ann.py and cnn.py."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from fmnist_lightning.limits import require

NUM_CLASSES = 10
Batch = tuple[Tensor, Tensor]  # normalised images (N, 1, 28, 28) float32, labels (N,) int64


class Classifier(pl.LightningModule):
    """A network from images (N, 1, 28, 28) to logits (N, 10), and how it learns.

    The study ends its networks in softmax and log-softmax; cross-entropy on logits is the same function of the
    same weights, and is what PyTorch recommends for its numerical range.

    Args:
        network: the layers.
        adam_lr: learning rate of the Adam that is used where no optimizer is given.
        optimizer: makes the optimizer from the parameters: `functools.partial(torch.optim.SGD, lr=0.05)`.
        scheduler: makes a scheduler from (optimizer, total_steps=...), stepped after every batch; None keeps
            the learning rate.
    """

    def __init__(
        self,
        network: nn.Module,
        adam_lr: float,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        require(model__adam_lr=adam_lr)
        self.network = network
        self.adam_lr, self.optimizer, self.scheduler = adam_lr, optimizer, scheduler
        self.train_loss, self.train_accuracy = _mean(), _accuracy()
        self.val_loss, self.val_accuracy = _mean(), _accuracy()
        self.test_loss, self.test_accuracy = _mean(), _accuracy()
        self.test_logits: list[Tensor] = []  # one (N, 10) float32 per batch of the last test pass

    @property
    def num_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of normalised images (N, 1, 28, 28)."""
        logits: Tensor = self.network(images)
        return logits

    def _step(
        self, batch: Batch, loss_metric: MeanMetric, accuracy_metric: MulticlassAccuracy
    ) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = self(images).float()
        losses = F.cross_entropy(logits, labels, reduction="none")
        # image by image: with nan_strategy="disable" MeanMetric ignores the weight of a batch's mean, so that a
        # shorter last batch would count as much as a whole one (torchmetrics issue 3434)
        loss_metric.update(losses.detach())
        accuracy_metric.update(logits.detach(), labels)
        return losses.mean(), logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of the batch."""
        return self._step(batch, self.train_loss, self.train_accuracy)[0]

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's means, taken while the weights moved and with dropout on."""
        self._log_means("train", self.train_loss, self.train_accuracy)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to the means that early stopping and the best checkpoint go by."""
        self._step(batch, self.val_loss, self.val_accuracy)
        self._log_means("val", self.val_loss, self.val_accuracy)

    def on_test_start(self) -> None:
        """Forgets the logits of an earlier test pass."""
        self.test_logits = []

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the batch's logits: what is said of the test images is computed from all of them at once."""
        self.test_logits.append(self._step(batch, self.test_loss, self.test_accuracy)[1].cpu())
        self._log_means("test", self.test_loss, self.test_accuracy)

    def _log_means(self, stage: str, loss: MeanMetric, accuracy: MulticlassAccuracy) -> None:
        # Lightning computes and resets them at the end of the epoch. Not for the loggers: the callback
        # EpochMetrics writes one row an epoch to all of them.
        metrics = {f"{stage}/loss": loss, f"{stage}/accuracy": accuracy}
        self.log_dict(metrics, on_step=False, on_epoch=True, logger=False)

    def configure_optimizers(self) -> Any:
        """The optimizer and, where one is given, the scheduler, as Lightning takes them."""
        if self.optimizer is None:
            optimizer: Optimizer = torch.optim.Adam(self.parameters(), lr=self.adam_lr)
        else:
            optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _mean() -> MeanMetric:
    return MeanMetric(nan_strategy="disable")  # any other strategy inspects every value, a synchronisation each


def _accuracy() -> MulticlassAccuracy:
    # validation of the arguments would inspect every batch's values too
    return MulticlassAccuracy(num_classes=NUM_CLASSES, average="micro", validate_args=False)
