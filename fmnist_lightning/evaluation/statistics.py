"""Means with confidence intervals, and paired tests, as results.json has them. All are computed by scipy."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95

Interval = list[float] | None
Values = np.ndarray[Any, np.dtype[np.float64]]


def describe(values: Sequence[float]) -> dict[str, Any]:
    """{n, mean, std, values, interval}: sample standard deviation, and Student's 95 % interval of the mean.

    A single value has neither and equal values have no interval: null.
    """
    array = _array(values)
    return {
        "n": len(array),
        "mean": _rounded(array.mean()),
        "std": _rounded(array.std(ddof=1)) if len(array) > 1 else None,
        "values": [_rounded(value) for value in array],
        "interval": _t_interval(array, 1 / len(array)),
    }


def prediction_interval(values: Sequence[float]) -> Interval:
    """Student's 95 % prediction interval of one more value; null as in `describe`."""
    return _t_interval(_array(values), 1 + 1 / len(values))


def _t_interval(values: Values, variances: float) -> Interval:
    if len(values) < 2:
        return None
    scale = values.std(ddof=1) * math.sqrt(variances)
    if scale == 0:  # equal values, because they are rounded, do not tell the standard deviation
        return None
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=values.mean(), scale=scale)
    return [_rounded(low), _rounded(high)]


def t_test(values: Sequence[float], limit: float = 0.0) -> float | None:
    """Two-sided p of Student's t-test that the mean is `limit`; null if the values are equal."""
    array = _array(values)
    if len(set(array)) < 2:
        return None
    return float(stats.ttest_1samp(array, limit).pvalue)


def proportion(count: int, num: int) -> dict[str, Any]:
    """{share, interval}: of `count` in `num`, with the exact interval of Clopper and Pearson."""
    interval = stats.binomtest(count, num).proportion_ci(LEVEL, method="exact")
    return {"share": _rounded(count / num), "interval": [_rounded(interval.low), _rounded(interval.high)]}


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's; null for fewer than three pairs."""
    return float(stats.spearmanr(first, second).statistic) if len(first) > 2 else None


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line."""
    return float(stats.linregress(x, y).slope)


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=float).round(9)  # smaller differences come from the order of summation


def _rounded(value: float) -> float:
    return round(float(value), 6)
