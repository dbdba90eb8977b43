"""Several predictors, or one with flipped images, as one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fmnist_lightning.data.archives import CLASS_NAMES
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.inference.predictor import Classified, Predictor


class Ensemble:
    """Averages the calibrated probabilities of several predictors.

    Args:
        members: the predictors, at least one.
        tta: also averages over the images and their mirror images (test-time augmentation).
    """

    class_names = CLASS_NAMES

    def __init__(self, members: Sequence[Predictor], tta: bool = False) -> None:
        self.members, self.tta = list(members), tta

    def predict(self, images: Tensor | Sequence[Any]) -> Tensor:
        """As `Predictor.predict`."""
        return self.classify(images).probabilities

    def classify(self, images: Tensor | Sequence[Any]) -> Classified:
        """As `Predictor.classify`; an outlier score is the mean of the members' scores, and the reason the first's."""
        images = to_images(images)
        views = [images, images.flip(-1)] if self.tta else [images]
        parts = [member.classify(view) for member in self.members for view in views]
        probabilities = torch.stack([part.probabilities for part in parts]).mean(dim=0)
        scores = torch.stack([part.outlier_scores for part in parts]).mean(dim=0)
        flags = scores > 0.5
        reasons = ["low confidence" if flag else "" for flag in flags.tolist()]
        return Classified(probabilities, scores, flags, reasons)

    def features(self, images: Tensor | Sequence[Any]) -> Tensor:
        """The members' features (N, F1 + F2 + ...) side by side, of the images as they are."""
        return torch.cat([member.features(images) for member in self.members], dim=1)
