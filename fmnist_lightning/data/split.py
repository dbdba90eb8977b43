"""Splits the training images by class; the same on every platform."""

from collections.abc import Iterator

import torch
from torch import Tensor


def _shuffled_classes(labels: Tensor, seed: int) -> Iterator[Tensor]:
    """The indices of each class, in random order."""
    generator = torch.Generator().manual_seed(seed)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        yield members[torch.randperm(len(members), generator=generator)]


def stratified_split(labels: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits labels (N,) so that each class has the same fraction in validation, and at least one image in each part.

    Returns:
        Ascending indices of the training and of the validation images.

    Raises:
        ValueError: a class has fewer than two images.
    """
    val = torch.zeros(len(labels), dtype=torch.bool)
    for members in _shuffled_classes(labels, seed):
        if len(members) < 2:
            raise ValueError(f"class {int(labels[members[0]])} has {len(members)} image; a split needs two of each")
        num_val = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        val[members[:num_val]] = True
    return (~val).nonzero().squeeze(1), val.nonzero().squeeze(1)


def nested_subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Ascending indices of the same fraction of each class of labels (N,), at least one image of each.

    With one seed, a smaller fraction is a subset of every larger one.
    """
    classes = _shuffled_classes(labels, seed)
    return torch.cat([members[: max(round(len(members) * fraction), 1)] for members in classes]).sort().values
