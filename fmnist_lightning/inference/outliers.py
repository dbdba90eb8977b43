"""Which images resemble none of the classes: a score, and why an image is flagged, in plain words.

The score is the generalised entropy (GEN; Liu, Lochman, Zach, CVPR 2023) of the ten probabilities. It grows with each
class that is not excluded, however small its probability, and needs nothing but the logits.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fmnist_lightning.data.class_names import CLASS_NAMES

EXPONENT = 0.1  # the paper's
CONFIDENT = 0.5  # probability above which one class is named, otherwise the most probable ones
NUM_NAMED = 3


def outlier_scores(logits: Tensor) -> Tensor:
    """Scores (N,) float32 of calibrated logits (N, C): sum of (p (1 - p)) ** 0.1 over the classes."""
    probabilities = logits.double().softmax(dim=1)  # float64, as 1 - p would be 0 for many images
    return (probabilities * (1 - probabilities)).pow(EXPONENT).sum(dim=1).float()


def threshold(scores: Tensor, passing: float) -> float:
    """The score that this fraction of the scores (N,) does not exceed."""
    return torch.quantile(scores.double(), passing).item()


class Classified(NamedTuple):
    """Predictions, and which images resemble none of the classes."""

    probabilities: Tensor  # (N, 10) float32, calibrated
    outlier_scores: Tensor  # (N,) float32; larger for images that resemble no class
    is_outlier: Tensor  # (N,) bool
    reasons: list[str]  # why an image is flagged; empty if it is not


def flag(images: Tensor, probabilities: Tensor, scores: Tensor, limit: float) -> Classified:
    """Flags the images (N, 28, 28) uint8 whose scores (N,) exceed the limit, and those of one value only."""
    pixels = images.flatten(1)
    is_blank = pixels.amax(dim=1) == pixels.amin(dim=1)
    is_outlier = (scores > limit) | is_blank
    reasons = [""] * len(images)
    for index in is_outlier.nonzero().flatten().tolist():
        reasons[index] = "blank image" if is_blank[index] else _explain(probabilities[index])
    return Classified(probabilities, scores, is_outlier, reasons)


def _explain(probabilities: Tensor) -> str:
    """Why an image with these probabilities (10,) is flagged."""
    top = probabilities.topk(NUM_NAMED)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    named = [f"{CLASS_NAMES[label]} {probability:.2f}" for label, probability in pairs]
    if top.values[0] > CONFIDENT:
        return f"unlike the training images; most like {named[0]}"
    return f"low confidence: {', '.join(named)}"
