"""Compared with values calculated by hand or from textbooks."""

import pytest

from fmnist_lightning.evaluation import statistics


def test_mean_has_students_interval():
    described = statistics.describe([1.0, 2.0, 3.0])
    assert (described["n"], described["mean"], described["std"]) == (3, 2.0, 1.0)
    assert described["interval"] == pytest.approx([2 - 2.4841, 2 + 2.4841], abs=1e-4)  # t of 2 degrees: 4.3027


def test_prediction_interval_is_wider():
    assert statistics.prediction_interval([1.0, 2.0, 3.0]) == pytest.approx([2 - 4.9683, 2 + 4.9683], abs=1e-4)


def test_single_value_has_no_std_and_no_interval():
    described = statistics.describe([0.9])
    assert (described["mean"], described["std"], described["interval"]) == (0.9, None, None)
    assert statistics.prediction_interval([0.9]) is None
    assert statistics.t_test([0.9]) is None


def test_equal_values_have_no_interval_and_no_test():
    assert statistics.describe([2.0, 2.0])["interval"] is None
    assert statistics.t_test([2.0, 2.0]) is None


def test_the_t_test_is_two_sided():
    assert statistics.t_test([1.0, 2.0, 3.0]) == pytest.approx(0.0742, abs=1e-4)  # t = 3.4641
    assert statistics.t_test([-1.0, -2.0, -3.0]) == pytest.approx(0.0742, abs=1e-4)


def test_proportion_has_the_interval_of_clopper_and_pearson():
    assert statistics.proportion(8, 10) == {"share": 0.8, "interval": pytest.approx([0.4439, 0.9748], abs=1e-4)}


def test_rank_correlation_depends_on_the_order_only():
    assert statistics.rank_correlation([3.0, 2.0, 1.0], [9.0, 4.0, 1.0]) == pytest.approx(1.0)
    assert statistics.rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
