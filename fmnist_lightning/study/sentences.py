"""One plain sentence for each claim: what was measured, whatever the verdict is. ANN first, then CNN."""

from collections.abc import Callable, Sequence
from typing import Any

from fmnist_lightning.study.plan import EPOCHS, LONG_EPOCHS

Evidence = dict[str, Any]
Change = tuple[str, str]  # a verb for negative, one for positive numbers
LOWERS: Change = ("lowers", "raises")


def _numbers(evidence: Sequence[Evidence], part: str, index: int = 0) -> list[float | None]:
    """The estimates of a part, of each model; the index-th of those that a model has."""
    of_part = [each for each in evidence if each["part"] == part]
    models = dict.fromkeys(each["model"] for each in of_part)
    return [[each["estimate"] for each in of_part if each["model"] == model][index] for model in models]


def _pair(numbers: Sequence[float | None], form: str = ".3f", scale: float = 1.0) -> str:
    shown = ["unknown" if number is None else format(scale * number, form) for number in numbers]
    return " and ".join(shown)


def _change(numbers: Sequence[float | None], verbs: Change, what: str, form: str, scale: float = 1.0) -> str:
    """Such as `lowers the loss by 0.1 and 0.2`; `changes the loss by -0.1 and +0.2` if the signs differ."""
    known = [number for number in numbers if number is not None]
    for sign, verb in zip((-1, 1), verbs, strict=True):
        if any(known) and all(sign * number >= 0 for number in known):
            sizes = [None if number is None else abs(number) for number in numbers]
            return f"{verb} {what} by {_pair(sizes, form, scale)}"
    return f"changes {what} by {_pair(numbers, '+' + form, scale)}"


def _negative(numbers: Sequence[float | None]) -> list[float | None]:
    return [None if number is None else 0.0 - number for number in numbers]  # no -0.0


def _cnn_beats_ann(evidence: Sequence[Evidence]) -> str:
    difference = evidence[0]
    more = "higher" if difference["estimate"] >= 0 else "lower"
    interval = difference["interval"]
    low, high = sorted(abs(100 * limit) for limit in interval) if interval else (0, 0)
    known = f" (95 % confidence interval {low:.1f} to {high:.1f})" if interval and interval[0] * interval[1] > 0 else ""
    return (
        f"The CNN's test accuracy is {abs(100 * difference['estimate']):.1f} percentage points {more} than the ANN's"
        f"{known}, and the CNN is better in {evidence[1]['estimate']} of {evidence[1]['n']} seeds."
    )


def _dropout(evidence: Sequence[Evidence]) -> str:
    gap, loss = (_negative(_numbers(evidence, part)) for part in ("gap", "validation loss"))
    gaps = _change(gap, LOWERS, "the gap between validation and training loss", ".3f")
    losses = _change(loss, LOWERS, "the validation loss", ".3f")
    return f"In epoch {EPOCHS}, dropout {gaps} nats (ANN and CNN) and {losses} nats."


def _batch_norm(evidence: Sequence[Evidence]) -> str:
    epochs = _negative(_numbers(evidence, "faster"))
    fluctuation = _negative(_numbers(evidence, "more stable"))
    time = _change(epochs, ("shortens", "lengthens"), "the way to the same validation loss", ".1f")
    return (
        f"Batch normalization {time} epochs (ANN and CNN) and "
        f"{_change(fluctuation, LOWERS, 'the fluctuation of the validation loss from epoch to epoch', '.0f', 100)} %."
    )


def _losses(evidence: Sequence[Evidence]) -> str:
    correlation, rise = (_numbers(evidence, part) for part in ("losses fall together", "no large rises"))
    gap, loss = (_numbers(evidence, "early stopping prevents overfitting", index) for index in (0, 1))
    gaps = _change(gap, LOWERS, "the gap between test and training loss", ".3f")
    losses = _change(loss, LOWERS, "the test loss", ".3f")
    return (
        "Up to the best epoch, training and validation loss have a rank correlation of "
        f"{_pair(correlation, '.2f')} (ANN and CNN), and the largest rise of the validation loss is "
        f"{_pair(rise, '.0f', 100)} % of its decrease; without early stopping, training on to epoch {LONG_EPOCHS} "
        f"{gaps} nats and {losses} nats."
    )


def _classes(evidence: Sequence[Evidence]) -> str:
    tshirts, shirts = (_numbers(evidence, "shirts and T-shirts", index) for index in (0, 1))
    return (
        f"Six of the ten classes have a recall of at least {_pair(_numbers(evidence, 'most classes'), '.2f')} (ANN and "
        f"CNN); of the misclassified T-shirts {_pair(tshirts, '.0f', 100)} % are predicted as Shirt, of the "
        f"misclassified shirts {_pair(shirts, '.0f', 100)} % as T-shirt/top."
    )


def _more_images(evidence: Sequence[Evidence]) -> str:
    last, each = (_numbers(evidence, part) for part in ("last doubling", "all sizes"))
    return (
        f"Training on all images and not on half of them {_change(last, LOWERS, 'the test accuracy', '.1f', 100)} "
        f"percentage points (ANN and CNN); over all sizes, each doubling {_change(each, LOWERS, 'it', '.1f', 100)}."
    )


SENTENCES: tuple[Callable[[Sequence[Evidence]], str], ...] = (
    *(_cnn_beats_ann, _dropout, _batch_norm, _losses, _classes, _more_images),
)
