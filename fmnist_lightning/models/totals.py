"""Loss and accuracy of an epoch as plain sums.

Updating torchmetrics at every step costs a small network more time than its layers. Once per epoch the sums update two
MeanMetrics, which average over processes; `Classifier` logs these, and the callback EpochMetrics writes the row.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric


class EpochTotals:
    """Loss and number of correct predictions of this process in one epoch of one stage."""

    def __init__(self) -> None:
        self.reset(torch.device("cpu"))

    def reset(self, device: torch.device) -> None:
        """Starts an epoch, on the device of the losses."""
        self.sums = torch.zeros(2, device=device)  # over images: cross-entropy, correct predictions
        self.num_images = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: its mean loss, logits (N, 10), labels (N,) or probabilities of the classes (N, 10)."""
        if labels.dim() == 2:
            labels = labels.argmax(dim=1)
        correct = (logits.detach().argmax(dim=1) == labels).sum()
        self.sums.add_(torch.stack([loss.detach() * len(labels), correct]))
        self.num_images += len(labels)

    def update_metrics_and_reset(self, loss: MeanMetric, accuracy: MeanMetric) -> None:
        """Updates metrics with the means so far, and resets the totals."""
        if self.num_images:
            means = self.sums / self.num_images
            for metric, mean in zip((loss, accuracy), means, strict=True):
                metric.update(mean, self.num_images)
            self.reset(self.sums.device)

    def state_dict(self) -> dict[str, Any]:
        """The totals so far, for a checkpoint within an epoch."""
        return {"sums": self.sums.cpu(), "num_images": self.num_images}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restores the totals of a checkpoint."""
        self.sums, self.num_images = state["sums"].to(device, copy=True), state["num_images"]
