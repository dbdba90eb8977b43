"""Augments whole batches of uint8 images (N, 28, 28) on their device; computes the mean and std of their pixels."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ASPECT_RATIOS = (0.3, 3.3)  # of erased rectangles, height / width: torchvision's


def flip(images: Tensor) -> Tensor:
    """Mirrors half of the images, chosen at random."""
    chosen = torch.rand(len(images), 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def crop(images: Tensor, padding: int) -> Tensor:
    """Crops each image at a random position, after padding by black pixels."""
    num, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    top, left = torch.randint(2 * padding + 1, (2, num, 1, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device).view(1, -1, 1)  # (N, 28, 1)
    columns = left + torch.arange(width, device=images.device).view(1, 1, -1)  # (N, 1, 28)
    return padded[torch.arange(num, device=images.device).view(-1, 1, 1), rows, columns]


def erase(images: Tensor, probability: float, area: Sequence[float]) -> Tensor:
    """Random erasing (arXiv 1708.04896): with this probability an image loses a random rectangle, which becomes black.

    As in `torchvision.transforms.RandomErasing`, the rectangle's fraction of the image is uniform between the two
    values of `area`, and the logarithm of its aspect ratio is uniform. That class decides and draws once per call,
    which for a batch is the same rectangle in all of its images.
    """
    num, height, width = images.shape
    low, high = map(math.log, ASPECT_RATIOS)
    uniform = torch.rand(5, num, device=images.device)
    fraction = area[0] + (area[1] - area[0]) * uniform[0]
    # within these limits the rectangle fits into the image
    ratio = (low + (high - low) * uniform[1]).exp().clamp(fraction, 1 / fraction)
    rows = _interval(height, (fraction * ratio).sqrt(), uniform[2])  # (N, 28)
    columns = _interval(width, (fraction / ratio).sqrt(), uniform[3])  # (N, 28)
    chosen = (uniform[4] < probability).view(-1, 1, 1)
    return images.masked_fill(rows.unsqueeze(2) & columns.unsqueeze(1) & chosen, 0)


def _interval(size: int, fraction: Tensor, position: Tensor) -> Tensor:
    """Which of `size` pixels are in an interval with this fraction of them, at a random position: (N, size) bool."""
    length = (size * fraction).round().clamp(min=1)
    first = (position * (size + 1 - length)).floor().unsqueeze(1)
    pixels = torch.arange(size, device=fraction.device)
    return (pixels >= first) & (pixels < first + length.unsqueeze(1))


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of uint8 pixels, scaled to [0, 1]; exact, from counts of the 256 values."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts @ values) / counts.sum()
    std = ((counts @ (values - mean) ** 2) / counts.sum()).sqrt()
    return mean.item(), std.item()
