"""The study's convolutional network."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.models.classifier import NUM_CLASSES, Classifier
from fmnist_lightning.models.layers import conv_block, dense_block


class CNN(Classifier):
    """Two blocks of convolution, ReLU, pooling and dropout, then a fully connected stage: 421,866 parameters.

    The blocks pool before ReLU, which is the same. Convolutions 9 * 32 = 288 and 32 * 9 * 64 = 18,432 with
    2 * (32 + 64) = 192 of batch normalization; the fully connected stage 64 * 7 * 7 * 128 = 401,408 with 2 * 128 = 256
    of it; the output 128 * 10 + 10 = 1,290. Without batch normalization 421,642: one bias for each of the 224 filters
    and units in place of its two values.

    Args:
        filters: filters of each block's convolution; each block halves height and width.
        kernel_size: height and width of the convolutions' kernels, odd.
        padding: "same" keeps the size of the maps before pooling, "valid" trims them by kernel_size - 1.
        dropout: rate after each pooling and each hidden layer of the head.
        batch_norm: whether to normalise between each convolution or dense layer and its ReLU.
        head: units of each dense layer between the last block and the 10 classes.
        label_smoothing, optimizer, scheduler: see Classifier.
    """

    def __init__(
        self,
        filters: Sequence[int] = (32, 64),
        kernel_size: int = 3,
        padding: str = "same",
        dropout: float = 0.25,
        batch_norm: bool = True,
        head: Sequence[int] = (128,),
        label_smoothing: float = 0.0,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
    ) -> None:
        validate_values(model__filters=filters, model__kernel_size=kernel_size, model__padding=padding)
        validate_values(model__dropout=dropout, model__batch_norm=batch_norm, model__head=head)
        blocks: list[nn.Module] = []
        side = 28
        for num_in, num_out in pairwise([1, *filters]):
            blocks += conv_block(num_in, num_out, kernel_size, padding, dropout, batch_norm)
            side = (side if padding == "same" else side - kernel_size + 1) // 2
            if side < 1:
                raise ValueError(
                    f"model.filters={list(filters)}: the maps shrink to nothing with model.kernel_size={kernel_size} "
                    "and model.padding=valid; use fewer blocks, a smaller kernel or model.padding=same"
                )
        sizes = [side * side * filters[-1], *head]
        dense = [layer for pair in pairwise(sizes) for layer in dense_block(*pair, dropout, batch_norm)]
        network = nn.Sequential(*blocks, nn.Flatten(), *dense, nn.Linear(sizes[-1], NUM_CLASSES))
        # channels last: the convolutions of a CPU and of a GPU's tensor cores read pixels with all their channels
        super().__init__(network.to(memory_format=torch.channels_last), optimizer, scheduler, label_smoothing)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"])
