"""How every model learns: cross-entropy, running metrics, optimizer, scheduler. What learns is in ann.py and cnn.py."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric
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
        self.train_loss, self.train_accuracy = _metrics()
        self.val_loss, self.val_accuracy = _metrics()
        self.test_loss, self.test_accuracy = _metrics()
        self._seen: dict[str, list[Batch]] = {"train": [], "val": [], "test": []}  # logits, labels of each batch
        self.test_logits = torch.empty(0, NUM_CLASSES)  # (N, 10) float32 of the last test pass, in its order

    @property
    def num_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of normalised images (N, 1, 28, 28)."""
        logits: Tensor = self.network(images)
        return logits

    def _step(self, stage: str, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images).float()
        if batch_idx == 0:
            self._seen[stage] = []  # an epoch that was broken off leaves its batches behind
        self._seen[stage].append((logits.detach(), labels))
        return F.cross_entropy(logits, labels)

    def epoch_metrics(self, stage: str) -> dict[str, Metric]:
        """Loss and accuracy of the epoch so far; their `compute` gives the means over all images and processes.

        The metrics are updated here, once an epoch with all its logits (2 MB for 48,000 images), and not at every
        step: that would cost a small network more than its layers do.
        """
        metrics: dict[str, Metric] = {name: getattr(self, f"{stage}_{name}") for name in ("loss", "accuracy")}
        if self._seen[stage]:
            logits, labels = (torch.cat(parts) for parts in zip(*self._seen[stage], strict=True))
            self._seen[stage] = []
            metrics["loss"].update(F.cross_entropy(logits, labels, reduction="none"))
            metrics["accuracy"].update(logits, labels)
        return metrics

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of the batch."""
        return self._step("train", batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's means, taken while the weights moved and with dropout on."""
        self._log_epoch("train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to the means that early stopping and the best checkpoint go by."""
        self._step("val", batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Logs the means."""
        self._log_epoch("val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to the means."""
        self._step("test", batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        """Keeps the logits: what is said of the test images is computed from all of them at once."""
        self.test_logits = torch.cat([logits for logits, _ in self._seen["test"]]).cpu()
        self._log_epoch("test")

    def _log_epoch(self, stage: str) -> None:
        # Lightning computes and resets them. Not for the loggers: the callback EpochMetrics writes one row an epoch
        # to all of them.
        self.log_dict({f"{stage}/{name}": metric for name, metric in self.epoch_metrics(stage).items()}, logger=False)

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


def _metrics() -> tuple[MeanMetric, MulticlassAccuracy]:
    # "disable" takes values as they are; a loss that is not finite is for the run to notice
    return MeanMetric(nan_strategy="disable"), MulticlassAccuracy(NUM_CLASSES, average="micro")
