"""Several predictors, or one with flipped images, as one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.inference.calibration import Calibration
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.inference.outliers import Classified, flag, outlier_scores
from fmnist_lightning.inference.predictor import Predictor


class Ensemble:
    """Averages the calibrated probabilities of several predictors.

    Args:
        members: the predictors, at least one.
        tta: also averages over the images and their mirror images (test-time augmentation).
    """

    class_names = CLASS_NAMES

    def __init__(self, members: Sequence[Predictor], tta: bool = False) -> None:
        self.members, self.tta = list(members), tta
        thresholds = [member.calibration.outlier_threshold for member in members]
        self.calibration = Calibration(1.0, sum(thresholds) / len(thresholds))  # probabilities are calibrated already

    def predict(self, images: Tensor | Sequence[Any]) -> Tensor:
        """As `Predictor.predict`."""
        return self.classify(images).probabilities

    def classify(self, images: Tensor | Sequence[Any]) -> Classified:
        """As `Predictor.classify`, with the means of the members' probabilities, outlier scores and thresholds."""
        images = to_images(images)
        views = [images, images.flip(-1)] if self.tta else [images]
        logits = [member.calibrated(member.logits(view)) for member in self.members for view in views]
        probabilities = torch.stack([each.softmax(dim=1) for each in logits]).mean(dim=0)
        scores = torch.stack([outlier_scores(each) for each in logits]).mean(dim=0)
        return flag(images, probabilities, scores, self.calibration.outlier_threshold)

    def features(self, images: Tensor | Sequence[Any]) -> Tensor:
        """The members' features (N, F1 + F2 + ...) side by side, of the images as they are."""
        return torch.cat([member.features(images) for member in self.members], dim=1)
