"""The study's dense network."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import nn
from torch.optim import Optimizer

from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.models.classifier import NUM_CLASSES, Classifier
from fmnist_lightning.models.layers import dense_block


class ANN(Classifier):
    """Dense layers with ReLU and dropout; the study's are 784 - 128 - 64 - 10: 109,578 parameters.

    784 * 128 = 100,352; 128 * 64 = 8,192; 2 * (128 + 64) = 384 of batch normalization; 64 * 10 + 10 = 650. Without
    batch normalization 109,386: one bias for each of the 192 hidden units in place of its two values.

    Args:
        hidden: units of each hidden layer.
        dropout: rate after each hidden layer.
        batch_norm: whether to normalise between each hidden layer and its ReLU.
        label_smoothing, optimizer, scheduler: see Classifier.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.25,
        batch_norm: bool = True,
        label_smoothing: float = 0.0,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
    ) -> None:
        validate_values(model__hidden=hidden, model__dropout=dropout, model__batch_norm=batch_norm)
        sizes = [28 * 28, *hidden]
        blocks = [layer for pair in pairwise(sizes) for layer in dense_block(*pair, dropout, batch_norm)]
        network = nn.Sequential(nn.Flatten(), *blocks, nn.Linear(sizes[-1], NUM_CLASSES))
        super().__init__(network, optimizer, scheduler, label_smoothing)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"])
