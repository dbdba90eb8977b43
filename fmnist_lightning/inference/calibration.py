"""What validation images say about a model's outputs: how confident it may be, and which outlier score is unusual.

The temperature is that of temperature scaling (Guo et al. 2017).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fmnist_lightning.inference.outliers import outlier_scores, threshold

LOWEST, HIGHEST = 0.1, 10.0  # temperatures; without a mistake among the images the best one would be 0
NUM_STEPS = 30  # of the bisection, from a range of ln 100 to less than 1e-8


class Calibration(NamedTuple):
    """How logits become calibrated probabilities and flags; the defaults change and flag nothing."""

    temperature: float = 1.0
    outlier_threshold: float = math.inf


def calibrate(logits: Tensor, labels: Tensor, intended_logits: Tensor, passing: float) -> Calibration:
    """The calibration of a model.

    Args:
        logits: (N, C) of validation images.
        labels: (N,) of them.
        intended_logits: (M, C) of validation images as those on which the model will be used.
        passing: the fraction of the latter that is not flagged.
    """
    temperature = round(fit_temperature(logits, labels), 6)
    return Calibration(temperature, round(threshold(outlier_scores(intended_logits / temperature), passing), 6))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature, by which logits (N, C) are divided, with the lowest cross-entropy for labels (N,).

    The cross-entropy is convex in the inverse of the temperature, so its derivative has one root, found by bisection.
    """
    logits = logits.double()
    correct = logits.gather(1, labels.unsqueeze(1)).mean()
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(NUM_STEPS):
        middle = (low + high) / 2
        expected = (F.softmax(logits / math.exp(middle), dim=1) * logits).sum(dim=1).mean()
        if expected > correct:  # too confident
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def cross_fitted(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (N, C), each divided by the temperature that was fitted on the other half of the images.

    An error measured on them is that of images that the temperature was not fitted on.
    """
    scaled = torch.empty_like(logits)
    for half in (0, 1):
        other = slice(1 - half, None, 2)
        scaled[half::2] = logits[half::2] / fit_temperature(logits[other], labels[other])
    return scaled
