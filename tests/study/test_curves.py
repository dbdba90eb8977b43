"""Numbers of loss curves that can be computed by hand."""

import math
from dataclasses import replace

import pytest

from fmnist_lightning.study.curves import epochs_to, fluctuation, largest_rise
from fmnist_lightning.study.records import Record
from tests.study.conftest import make_record


def record(losses: list[float]) -> Record:
    return replace(make_record(), epochs=[{"val/loss": loss} for loss in losses])


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [([1.0, 0.5, 0.3, 0.2], 3.5), ([0.2, 0.1], 1.0), ([1.0, 0.25, 0.1], 2.0), ([1.0, 0.5, 0.4], 3.0)],
)
def test_epochs_until_a_loss_are_interpolated_or_all(losses, epochs):
    assert epochs_to(record(losses), 0.25) == pytest.approx(epochs)


def test_fluctuation_is_the_standard_deviation_of_the_changes_from_epoch_5_on():
    start = [9.0, 7.0, 5.0, 3.0]
    assert fluctuation(record([*start, 1.0, 1.1, 1.0, 1.1])) == pytest.approx(math.sqrt(0.04 / 3))
    assert fluctuation(record([*start, 1.0, 0.75, 0.5, 0.25])) is None  # a constant slope
    assert fluctuation(record([*start, 1.0, 1.1, 1.0])) is None  # two changes


def test_largest_rise_is_a_share_of_the_whole_decrease():
    assert largest_rise([1.0, 0.6, 0.7, 0.5]) == pytest.approx(0.2)
    assert largest_rise([1.0, 0.6, 0.5]) == 0
