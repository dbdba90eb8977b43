"""Compares the predictions of several runs on the same test images: in total, per class and image by image.

Nothing here chooses a run: the reference is given.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor

from fmnist_lightning.evaluation.paired import NUM_RESAMPLES, Difference, discordant, mcnemar, paired_difference

SIGNIFICANT = 0.05  # p, before it is divided by the number of tests


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison.

    Args:
        name: a letter.
        folder: its directory, as shown.
        summary: the run's.
        epochs: a row per epoch: epoch, val/loss, val/accuracy.
        labels: (N,) of the test images.
        probabilities: (N, 10).
    """

    name: str
    folder: str
    summary: Mapping[str, Any]
    epochs: Sequence[Mapping[str, float]]
    labels: Tensor
    probabilities: Tensor

    @property
    def predicted(self) -> Tensor:
        """The predicted labels (N,)."""
        return self.probabilities.argmax(dim=1)

    @property
    def correct(self) -> Tensor:
        """Whether each prediction is right, (N,) bool."""
        return self.predicted == self.labels


class PerClass(NamedTuple):
    """A score of one class: the reference's, and for each other run the difference and whether it is significant."""

    name: str
    reference: float
    differences: list[float]
    is_significant: list[bool]


@dataclass(frozen=True)
class Comparison:
    """Several runs, one of which the others are compared with.

    Args:
        runs: all, in order.
        reference: one of them.
        reason: why it is the reference.
        settings: what differs between the runs: the value of each, by key; None where a run lacks it.
        groups: runs that differ in their seeds only; none unless a setting has several seeds.
        names: of the runs with the reference's images and split; only these are tested.
        warnings: what limits the comparison.
        class_names: by label.
    """

    runs: Sequence[ComparedRun]
    reference: ComparedRun
    reason: str
    settings: Mapping[str, Sequence[str | None]]
    groups: Sequence[Sequence[ComparedRun]]
    names: Collection[str]
    warnings: Sequence[str]
    class_names: Sequence[str]

    @property
    def tested(self) -> list[ComparedRun]:
        """The runs that are compared with the reference."""
        return [run for run in self.runs if run.name in self.names and run is not self.reference]

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """The difference of each tested run to the reference, by name."""
        return {run.name: paired_difference(run.correct, self.reference.correct) for run in self.tested}

    @property
    def explanations(self) -> list[str]:
        """What the intervals and p values say, and what they do not."""
        num = len(self.tested)
        if not num:
            return []
        limit = f"{num} comparisons: at the 5 % level, a p below {SIGNIFICANT}/{num} is significant (Bonferroni)."
        return [
            f"Interval: 95 %, of {NUM_RESAMPLES:,} bootstrap resamples of the test images; p: McNemar's exact test.",
            *([limit] if num > 1 else []),
            "Both cover the choice of test images, not the random seed of training: train several seeds of each "
            "setting before you attribute a difference to the setting.",
            "Choose between runs by their validation scores; the test set is used for the final score only.",
        ]


def macro_f1(run: ComparedRun) -> float:
    """The mean F1 over the classes; that of a class without predictions is 0."""
    return float(_scores(run)[2].mean())


def per_class(
    reference: ComparedRun, others: Sequence[ComparedRun], class_names: Sequence[str]
) -> dict[str, list[PerClass]]:
    """Recall and F1 of each class, as differences to the reference.

    A difference in recall is significant if McNemar's exact test on the images of the class has a p below 0.05 divided
    by the number of tests, classes times runs (Bonferroni). F1 is not tested.
    """
    limit = SIGNIFICANT / (len(class_names) * max(1, len(others)))
    of_reference, of_others = _scores(reference), [_scores(run) for run in others]
    table: dict[str, list[PerClass]] = {"recall": [], "F1": []}
    for label, name in enumerate(class_names):
        members = reference.labels == label
        p = [mcnemar(*discordant(run.correct[members], reference.correct[members])) for run in others]
        for row, measure, marks in ((1, "recall", [value < limit for value in p]), (2, "F1", [False] * len(others))):
            value = float(of_reference[row, label])
            differences = [float(scores[row, label]) - value for scores in of_others]
            table[measure].append(PerClass(name, value, differences, marks))
    return table


def _scores(run: ComparedRun) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Precision, recall, F1 and support, (4, 10)."""
    labels, predicted = run.labels.numpy(), run.predicted.numpy()
    return np.array(precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0))


def only_correct(run: ComparedRun, other: ComparedRun, num: int) -> list[int]:
    """Indices of images that only `run` classifies correctly.

    The first have the largest difference in the probability of the true class.
    """
    indices = (run.correct & ~other.correct).nonzero().squeeze(1)
    gap = run.probabilities[indices, run.labels[indices]] - other.probabilities[indices, run.labels[indices]]
    return [int(index) for index in indices[gap.argsort(descending=True, stable=True)[:num]]]


def mean_std(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation, with four digits; a single value has no deviation."""
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def format_p(p: float) -> str:
    """A p value as text."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
