"""What the study reports: its tables of scores and its claims."""

from typing import NamedTuple

STUDY = (
    "G. Patel, P. Ganapathi Subramanian: Classification of Standard FASHION MNIST Dataset Using Deep Learning Based "
    "Algorithms (CS637 Team 4)"
)
MODELS = ("ann", "cnn")
MEASURES = ("precision", "recall", "f1")
DIGITS = 2  # of each reported value


class Reported(NamedTuple):
    """One model's table: Fig 3 (ANN), Fig 4 (CNN)."""

    accuracy: float
    per_class: tuple[tuple[float, float, float], ...]  # by label: precision, recall, F1
    average: tuple[float, float, float]  # the macro and the weighted average are the same


REPORTED = {
    "ann": Reported(
        accuracy=0.88,
        per_class=(
            (0.85, 0.79, 0.82),
            (0.99, 0.96, 0.98),
            (0.80, 0.78, 0.79),
            (0.84, 0.91, 0.87),
            (0.78, 0.82, 0.80),
            (0.95, 0.95, 0.95),
            (0.71, 0.69, 0.70),
            (0.91, 0.97, 0.94),
            (0.96, 0.97, 0.97),
            (0.97, 0.91, 0.94),
        ),
        average=(0.88, 0.88, 0.88),
    ),
    "cnn": Reported(
        accuracy=0.92,
        per_class=(
            (0.83, 0.90, 0.87),
            (0.99, 0.98, 0.98),
            (0.86, 0.89, 0.87),
            (0.91, 0.92, 0.92),
            (0.86, 0.87, 0.87),
            (0.99, 0.97, 0.98),
            (0.81, 0.71, 0.76),
            (0.95, 0.98, 0.97),
            (0.98, 0.98, 0.98),
            (0.98, 0.96, 0.97),
        ),
        average=(0.92, 0.92, 0.92),
    ),
}

CLAIMS = (  # in the study's words, shortened
    "The CNN beats the ANN (92 % against 88 %).",
    "Dropout reduces overfitting, in both models.",
    "Batch normalization gives faster and more stable training, in both models.",
    "Training and validation loss fall together without large swings; early stopping prevents overfitting.",
    "Most classes are recognised well; shirts and T-shirts are confused with each other.",
    "More training images would make the classifier better.",
)
