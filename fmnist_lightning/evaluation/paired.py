"""The difference of two accuracies on the same images: its bootstrap interval and McNemar's test."""

from typing import NamedTuple

import numpy as np
from scipy import stats
from torch import Tensor

LEVEL = 0.95
NUM_RESAMPLES = 9999


class Difference(NamedTuple):
    """The test accuracy of a run minus that of the reference, on the same images."""

    estimate: float
    interval: tuple[float, float]
    p: float
    only_run: int  # images that only the run classifies correctly
    only_reference: int
    num_images: int


def paired_difference(run: Tensor, reference: Tensor) -> Difference:
    """The difference with its 95 % bootstrap interval over images, and the p of McNemar's exact test.

    Args:
        run: whether it classifies each image correctly, (N,) bool.
        reference: the same of the reference.
    """
    num = len(run)
    only_run, only_reference = discordant(run, reference)
    # drawing N images with replacement draws the numbers of the three kinds of images from a multinomial distribution
    shares = np.array([only_run, only_reference, num - only_run - only_reference]) / num
    drawn = np.random.default_rng(0).multinomial(num, shares, NUM_RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / num, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    estimate, p = (only_run - only_reference) / num, mcnemar(only_run, only_reference)
    return Difference(estimate, (float(low), float(high)), p, only_run, only_reference, num)


def discordant(run: Tensor, reference: Tensor) -> tuple[int, int]:
    """The numbers of images that only the run, and only the reference, classifies correctly."""
    return int((run & ~reference).sum()), int((reference & ~run).sum())


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test.

    Args:
        only_first: images that only the first model classifies correctly.
        only_second: images that only the second one does.
    """
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)
