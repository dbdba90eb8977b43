"""Evidence: a number with its confidence interval, compared with a limit.

It supports a claim if the whole 95 % interval is on the claim's side of the limit, contradicts it if the interval is on
the other side, and leaves it undecided otherwise.
"""

from collections.abc import Sequence
from typing import Any

from fmnist_lightning.evaluation.statistics import describe, proportion, t_test

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"

Evidence = dict[str, Any]


def mean_evidence(text: str, values: Sequence[float], test: str, limit: float = 0.0, above: bool = True) -> Evidence:
    """The mean of values, one per seed; a single value has no interval and decides nothing."""
    described = describe(values)
    return {
        "text": text,
        "estimate": described["mean"],
        **{key: described[key] for key in ("interval", "n", "values")},
        "criterion": f"{'above' if above else 'below'} {limit:g}",
        "test": test,
        "p": t_test(values, limit),
        "verdict": _verdict(described["interval"], limit, above),
    }


def _verdict(interval: list[float] | None, limit: float, above: bool) -> str:
    if interval is None:
        return UNDECIDED
    low, high = interval if above else (-interval[1], -interval[0])
    limit = limit if above else -limit
    return HOLDS if low > limit else FAILS if high < limit else UNDECIDED


def share_evidence(text: str, count: int, num: int, limit: float) -> Evidence:
    """The share of `count` in `num`, which must be above the limit."""
    result = proportion(count, num)
    return {
        "text": text,
        "estimate": result["share"],
        "interval": result["interval"],
        "n": num,
        "criterion": f"above {limit:.3g}",
        "test": "exact binomial interval (Clopper-Pearson)",
        "p": None,
        "verdict": _verdict(result["interval"], limit, above=True),
    }


def no_evidence(text: str, reason: str) -> Evidence:
    """Undecided, for a reason."""
    return {
        "text": text,
        "estimate": None,
        "interval": None,
        "n": 0,
        "criterion": "",
        "test": reason,
        "p": None,
        "verdict": UNDECIDED,
    }
