"""Layers and blocks of the models."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtracts the mean of the training images and divides by their standard deviation: the first layer of a model.

    The buffers are in units of pixel values from 0 to 255. Before `set_mean_and_std` the layer scales to [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(255.0))

    def set_mean_and_std(self, mean: float, std: float) -> None:
        """Sets mean and standard deviation of the training images' pixels, scaled to [0, 1]."""
        self.mean.fill_(255 * mean)
        self.std.fill_(255 * std)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, 1, 28, 28) float32 of images (N, 28, 28) or (N, 1, 28, 28).

        uint8 and floating-point images in [0, 1] give the same bits: in float32, 255 * (value / 255) is the value.
        """
        if images.dim() == 3:
            images = images.unsqueeze(1)
        pixels = images.float() if images.dtype == torch.uint8 else images.float() * 255
        return pixels.sub_(self.mean).div_(self.std)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, faster on a CPU: the same distribution from other random numbers.

    torch draws a random float per element: a fifth of a CNN's training step. A rate of n/256 needs only 8 random bits
    per element; 16 bits approximate any other rate within 1/131072, and kept elements are scaled by the actual rate.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Zeroes each element with probability `p` and scales the others by 1 / (1 - p), in training only."""
        if not self.training or self.p == 0:
            return inputs
        if inputs.device.type != "cpu" or self.p == 1:
            return F.dropout(inputs, self.p)  # one fused kernel on a GPU
        num_bits, dtype = (8, torch.int8) if (256 * self.p).is_integer() else (16, torch.int16)
        levels = 2**num_bits
        num_dropped = min(round(levels * self.p), levels - 1)
        num_words = -(-inputs.numel() * num_bits // 64)
        # all 64 bits are random; with the default range the sign bits would be 0
        words = torch.empty(num_words, dtype=torch.int64).random_(-(2**63), None)
        # the memory order of the inputs, channels last or not, so that the product reads both straight through
        bits = words.view(dtype).as_strided(inputs.shape, torch.empty_like(inputs).stride())
        keep = bits >= num_dropped - levels // 2
        scaled_keep: Tensor = keep.to(inputs.dtype).mul_(levels / (levels - num_dropped))
        return inputs * scaled_keep


def dense_block(num_in: int, num_out: int, dropout: float, batch_norm: bool) -> list[nn.Module]:
    """Dense layer, optional batch normalization, ReLU, dropout: (N, num_in) -> (N, num_out)."""
    norm: list[nn.Module] = [nn.BatchNorm1d(num_out)] if batch_norm else []
    # batch normalization cancels a bias
    return [nn.Linear(num_in, num_out, bias=not batch_norm), *norm, nn.ReLU(), Dropout(dropout)]


def conv_block(
    num_in: int, num_out: int, kernel_size: int, padding: str, dropout: float, batch_norm: bool
) -> list[nn.Module]:
    """Convolution, optional batch normalization, 2x2 max-pooling, ReLU, dropout: height and width are halved."""
    norm: list[nn.Module] = [nn.BatchNorm2d(num_out)] if batch_norm else []
    return [
        nn.Conv2d(num_in, num_out, kernel_size, padding=padding, bias=not batch_norm),
        *norm,
        # max-pooling and ReLU commute: pooling first leaves a quarter of the elements for ReLU
        nn.MaxPool2d(2),
        nn.ReLU(),
        Dropout(dropout),
    ]
