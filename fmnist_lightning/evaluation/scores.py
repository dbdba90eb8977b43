"""All scores of a run, computed from all of its predictions at once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.metrics import classification_report
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

Scores = dict[str, Any]
CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean cross-entropy (natural logarithm) and accuracy of logits (N, C) and labels (N,)."""
    correct = (logits.argmax(dim=1) == labels).float()
    return {"loss": _number(F.cross_entropy(logits, labels)), "accuracy": _number(correct.mean())}


def score(logits: Tensor, labels: Tensor, class_names: Sequence[str]) -> Scores:
    """Scores predictions.

    Args:
        logits: (N, C) float32.
        labels: (N,) int64.
        class_names: C names, by label.

    Returns:
        loss: mean cross-entropy (natural logarithm); accuracy; calibration_error: expected calibration error over 15
        bins (Guo et al. 2017); macro and weighted: {precision, recall, f1}, the means over classes, plain and by
        support; per_class: [{label, name, precision, recall, f1, support}]; confusion_matrix: rows true,
        columns predicted, counts. An undefined precision, recall or F1 is 0.
    """
    num_classes = len(class_names)
    averages = {
        average: {
            "precision": multiclass_precision(logits, labels, num_classes, average=average),
            "recall": multiclass_recall(logits, labels, num_classes, average=average),
            "f1": multiclass_f1_score(logits, labels, num_classes, average=average),
        }
        for average in ("macro", "weighted", "none")
    }
    per_class = averages.pop("none")
    support = labels.bincount(minlength=num_classes)
    return {
        "loss": _number(F.cross_entropy(logits, labels)),
        "accuracy": _number(multiclass_accuracy(logits, labels, num_classes, average="micro")),
        "calibration_error": calibration_error(logits, labels),
        **{average: {name: _number(value) for name, value in means.items()} for average, means in averages.items()},
        "per_class": [
            {
                "label": label,
                "name": name,
                **{measure: _number(values[label]) for measure, values in per_class.items()},
                "support": int(support[label]),
            }
            for label, name in enumerate(class_names)
        ],
        "confusion_matrix": multiclass_confusion_matrix(logits, labels, num_classes).tolist(),
    }


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """The expected calibration error over 15 bins (Guo et al. 2017) of logits (N, C) and labels (N,)."""
    num_classes = logits.shape[1]
    return _number(multiclass_calibration_error(logits.softmax(1), labels, num_classes, n_bins=CALIBRATION_BINS))


def _number(value: Tensor) -> float:
    return round(value.item(), 6)  # the precision of float32


def report_text(labels: Tensor, predicted: Tensor, class_names: Sequence[str]) -> str:
    """scikit-learn's classification report with four digits."""
    text: str = classification_report(
        labels.numpy(),
        predicted.numpy(),
        labels=range(len(class_names)),
        target_names=list(class_names),
        digits=4,
        zero_division=0,  # its default, without the warning
    )
    return text


def confused_pairs(confusion_matrix: Sequence[Sequence[int]], num: int = 5) -> list[tuple[int, int, int]]:
    """The most frequent confusions: (true label, predicted label, count), most frequent first."""
    counts = [
        (true, predicted, count)
        for true, row in enumerate(confusion_matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count > 0
    ]
    return sorted(counts, key=lambda pair: -pair[2])[:num]


def worst_mistakes(labels: Tensor, probabilities: Tensor, num: int = 24) -> Tensor:
    """Indices of the wrong predictions with the lowest probability of the true class, worst first."""
    true_probabilities = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
    wrong = (probabilities.argmax(dim=1) != labels).nonzero().squeeze(1)
    return wrong[torch.argsort(true_probabilities[wrong], stable=True)[:num]]


class CalibrationBin(NamedTuple):
    """The images whose predicted class has a probability (the confidence) in [low, high)."""

    low: float
    high: float
    num_images: int
    confidence: float  # mean
    accuracy: float


def calibration_bins(labels: Tensor, probabilities: Tensor) -> list[CalibrationBin]:
    """The reliability diagram: the bins of the expected calibration error that contain an image."""
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels).float()
    index = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    bins = []
    for i in index.unique().tolist():
        inside = index == i
        mean, accuracy = confidence[inside].mean().item(), correct[inside].mean().item()
        edges = i / CALIBRATION_BINS, (i + 1) / CALIBRATION_BINS
        bins.append(CalibrationBin(*edges, int(inside.sum()), mean, accuracy))
    return bins
