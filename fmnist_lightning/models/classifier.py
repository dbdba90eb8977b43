"""How every model learns: cross-entropy, running metrics, optimizer, scheduler. What learns is in ann.py and cnn.py."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

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
        scheduler: makes a scheduler from (optimizer, total_steps=...), stepped after every optimizer step; None keeps
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
        self.train_loss, self.train_accuracy = _mean(), _mean()
        self.val_loss, self.val_accuracy = _mean(), _mean()
        self.test_loss, self.test_accuracy = _mean(), _mean()
        self._sums = torch.zeros(2)  # over the images of this epoch: cross-entropy, right predictions
        self._num_images = 0
        self.test_logits: list[Tensor] = []  # one (N, 10) float32 per batch of the last test pass

    @property
    def num_parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 10) of normalised images (N, 1, 28, 28)."""
        logits: Tensor = self.network(images)
        return logits

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = self(images).float()
        loss = F.cross_entropy(logits, labels)
        right = (logits.detach().argmax(dim=1) == labels).sum()
        self._sums.add_(torch.stack([loss.detach() * len(labels), right]))
        self._num_images += len(labels)
        return loss, logits

    def sums(self) -> dict[str, Any]:
        """The sums of the epoch so far, for a checkpoint."""
        return {"sums": self._sums.cpu(), "num_images": self._num_images}

    def set_sums(self, sums: dict[str, Any]) -> None:
        """Goes on with the sums of a checkpoint."""
        self._sums, self._num_images = sums["sums"].to(self.device), sums["num_images"]

    def _start_sums(self) -> None:
        self._sums, self._num_images = torch.zeros(2, device=self.device), 0

    def _update_metrics(self, stage: str) -> None:
        """Hands the epoch's sums over, once: metrics updated at every step cost a small network more than its layers.

        They are in turn what averages over processes.
        """
        loss, accuracy = self._sums / self._num_images
        getattr(self, f"{stage}_loss").update(loss, self._num_images)
        getattr(self, f"{stage}_accuracy").update(accuracy, self._num_images)

    def on_train_epoch_start(self) -> None:
        """Starts the sums."""
        self._start_sums()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy of the batch."""
        return self._step(batch)[0]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Takes the epoch's means, before validation starts its sums."""
        if self.trainer.is_last_batch or self.trainer.should_stop:
            self._update_metrics("train")

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's means, taken while the weights moved and with dropout on."""
        self._log_means("train")

    def on_validation_epoch_start(self) -> None:
        """Starts the sums."""
        self._start_sums()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to the means that early stopping and the best checkpoint go by."""
        self._step(batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the means."""
        self._update_metrics("val")
        self._log_means("val")

    def on_test_epoch_start(self) -> None:
        """Starts the sums, and forgets the logits of an earlier test pass."""
        self._start_sums()
        self.test_logits = []

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the batch's logits: what is said of the test images is computed from all of them at once."""
        self.test_logits.append(self._step(batch)[1].cpu())

    def on_test_epoch_end(self) -> None:
        """Logs the means."""
        self._update_metrics("test")
        self._log_means("test")

    def _log_means(self, stage: str) -> None:
        # Lightning computes and resets them. Not for the loggers: the callback EpochMetrics writes one row an epoch
        # to all of them.
        means = {f"{stage}/{name}": getattr(self, f"{stage}_{name}") for name in ("loss", "accuracy")}
        self.log_dict(means, logger=False)

    def configure_optimizers(self) -> Any:
        """The optimizer and, where one is given, the scheduler, as Lightning takes them."""
        if self.optimizer is None:
            optimizer: Optimizer = torch.optim.Adam(self.parameters(), lr=self.adam_lr)
        else:
            optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        total_steps = self.trainer.estimated_stepping_batches
        if total_steps in (float("inf"), -1):
            raise ValueError("scheduler: needs the number of steps; set trainer.max_epochs or max_steps")
        scheduler = self.scheduler(optimizer, total_steps=int(total_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _mean() -> MeanMetric:
    # not a number counts as infinite. Of what it allows, "disable" ignores the weights (torchmetrics issue 3434), and
    # "ignore" hides a loss that is no number
    return MeanMetric(nan_strategy=float("inf"))
