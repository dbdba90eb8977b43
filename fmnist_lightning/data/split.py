"""Which of the training images validate, and which share of the others trains."""

import torch
from torch import Tensor


def stratified_split(labels: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits so that each class gives the same share to validation.

    Args:
        labels: (N,) int64.
        val_fraction: share of each class, rounded to whole images, at least one on either side.
        seed: of the choice; the same on every platform.

    Returns:
        Ascending indices of the training and of the validation images.

    Raises:
        ValueError: a class has fewer than two images.
    """
    generator = torch.Generator().manual_seed(seed)
    val = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        if len(members) < 2:
            raise ValueError(f"class {int(label)} has {len(members)} image; a split needs two of each")
        num_val = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        val[members[torch.randperm(len(members), generator=generator)[:num_val]]] = True
    return (~val).nonzero().squeeze(1), val.nonzero().squeeze(1)


def nested_subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Chooses a share of each class; with one seed, a smaller share is part of every larger one.

    Args:
        labels: (N,) int64.
        fraction: share of each class, rounded to whole images, at least one.
        seed: of the choice; the same on every platform.

    Returns:
        Ascending indices; all of them where fraction is 1.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(members), generator=generator)
        chosen[members[order[: max(round(len(members) * fraction), 1)]]] = True
    return chosen.nonzero().squeeze(1)
