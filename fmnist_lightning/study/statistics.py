"""Means with their intervals, and paired comparisons; scipy's, in the form that results.json holds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.95

Interval = list[float] | None
Values = np.ndarray[Any, np.dtype[np.float64]]


def describe(values: Sequence[float]) -> dict[str, Any]:
    """{n, mean, std, values, interval}: the sample deviation, and Student's interval of the mean.

    Of one value there is neither, and of equal ones no interval: null.
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
    """Where one further value lies with probability 0.95, were all normally distributed alike; null as above."""
    return _t_interval(_array(values), 1 + 1 / len(values))


def _t_interval(values: Values, variances: float) -> Interval:
    if len(values) < 2:
        return None
    scale = values.std(ddof=1) * math.sqrt(variances)
    if scale == 0:  # values so coarse that they fall together do not say how far others would spread
        return None
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=values.mean(), scale=scale)
    return [_rounded(low), _rounded(high)]


def t_test(values: Sequence[float], limit: float = 0.0) -> float | None:
    """Two-sided p of Student's t-test that the mean is `limit`; null where the values do not differ from each other."""
    array = _array(values)
    if len(set(array)) < 2:
        return None
    return float(stats.ttest_1samp(array, limit).pvalue)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test.

    Args:
        only_first: images that the first model alone gets right.
        only_second: images that the second alone gets right.
    """
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def proportion(count: int, num: int) -> dict[str, Any]:
    """{share, interval}: of `count` in `num`, with the exact interval of Clopper and Pearson."""
    interval = stats.binomtest(count, num).proportion_ci(LEVEL, method="exact")
    return {"share": _rounded(count / num), "interval": [_rounded(interval.low), _rounded(interval.high)]}


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's; null of fewer than three pairs."""
    return float(stats.spearmanr(first, second).statistic) if len(first) > 2 else None


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line."""
    return float(stats.linregress(x, y).slope)


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=float).round(9)  # what differs by less is the same number, summed in another order


def _rounded(value: float) -> float:
    return round(float(value), 6)
