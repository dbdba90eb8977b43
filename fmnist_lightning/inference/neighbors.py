"""The training images that a model sees as most similar to an image: cosine similarity of their features."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnist_lightning.inference.predictor import Predictor

CHUNK = 4096  # training images; a CNN takes about a second for them


class Nearest(NamedTuple):
    """Training images, the most similar first."""

    images: Tensor  # (K, 28, 28) uint8
    labels: Tensor  # (K,)
    similarities: Tensor  # (K,) float32, cosine: at most 1, for the same features


class Neighbors:
    """Finds the nearest training images of a model, whose features are computed once.

    Args:
        predictor: the features are the inputs of its last linear layer.
        images: the training images (N, 28, 28) uint8.
        labels: (N,).
    """

    def __init__(self, predictor: Predictor, images: Tensor, labels: Tensor) -> None:
        self.predictor, self.images, self.labels = predictor, images, labels
        self._features: list[Tensor] = []  # of chunks, each row of length 1

    def prepare(self) -> Iterator[int]:
        """Computes the features of all training images, and yields after each chunk how many are done.

        The caller may stop at any time; the next call continues there.
        """
        for chunk in self.images.split(CHUNK)[len(self._features) :]:
            self._features.append(F.normalize(self.predictor.features(chunk), dim=1))
            yield sum(map(len, self._features))

    def nearest(self, image: Tensor, num: int = 5) -> Nearest:
        """The `num` training images nearest to an image (28, 28) uint8, of those that are prepared."""
        query = F.normalize(self.predictor.features(image[None]), dim=1).squeeze(0)  # (F,)
        similarities, indices = (torch.cat(self._features) @ query).topk(num)
        return Nearest(self.images[indices], self.labels[indices], similarities)
