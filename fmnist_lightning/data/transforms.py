"""Augments uint8 images (N, 28, 28) and computes their mean and standard deviation."""

import torch
import torch.nn.functional as F
from torch import Tensor

CROP_PADDING = 2  # pixels on each side before the random crop


def augment(images: Tensor) -> Tensor:
    """Flips half of the images (N, 28, 28) and crops each at random after padding by 2 black pixels."""
    num, height, width = images.shape
    flip = torch.rand(num, 1, 1, device=images.device) < 0.5
    images = torch.where(flip, images.flip(-1), images)
    padded = F.pad(images, [CROP_PADDING] * 4)
    top, left = torch.randint(2 * CROP_PADDING + 1, (2, num, 1, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device).view(1, -1, 1)  # (N, 28, 1)
    columns = left + torch.arange(width, device=images.device).view(1, 1, -1)  # (N, 1, 28)
    return padded[torch.arange(num, device=images.device).view(-1, 1, 1), rows, columns]


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of uint8 pixels, scaled to [0, 1]; exact, from counts of the 256 values."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts @ values) / counts.sum()
    std = ((counts @ (values - mean) ** 2) / counts.sum()).sqrt()
    return mean.item(), std.item()
