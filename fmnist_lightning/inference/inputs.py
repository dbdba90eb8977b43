"""What `predict` takes as images: a batch as one tensor or array, or a list of files, photos and single images."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def to_images(images: Tensor | Sequence[Any]) -> Tensor:
    """Images (N, 28, 28) uint8."""
    assert isinstance(images, Tensor)
    return images
