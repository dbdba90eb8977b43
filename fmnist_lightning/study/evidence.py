"""Evidence: the mean of a measure over seeds with its confidence interval, compared with a limit.

It supports a claim if the whole 95 % interval is on the claim's side of the limit, contradicts it if the interval is on
the other side, and leaves it undecided otherwise. docs/analysis-plan.md gives the reasons.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fmnist_lightning.evaluation.statistics import describe, t_test

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
ERROR = 0.05  # probability of a wrong verdict on a claim, at most
PAIRED = "paired t-test over seeds"

Evidence = dict[str, Any]


def mean_evidence(
    text: str,
    values: Sequence[float],
    limit: float,
    above: bool = True,
    *,
    part: str,
    model: str | None = None,
    unit: str = "",
    test: str = PAIRED,
) -> Evidence:
    """The mean of values, one per seed; a single value has no interval and decides nothing.

    Args:
        text: what is measured.
        values: of each seed.
        limit: smaller effects do not count.
        above: whether the claim is that the mean is above the limit.
        part: of the claim.
        model: ann or cnn; None if both are compared.
        unit: of the values.
        test: how the interval is computed.
    """
    described = describe(values)
    return {
        "text": f"{model.upper()}: {text}" if model else text,
        **{"part": part, "model": model, "unit": unit, "limit": limit, "above": above},
        "estimate": described["mean"],
        **{key: described[key] for key in ("interval", "n", "values")},
        "criterion": f"{'above' if above else 'below'} {limit:.3g}{' ' * bool(unit)}{unit}",
        "test": test,
        "p": t_test(values, limit),
        "verdict": _verdict(described["interval"], limit, above),
    }


def measured_evidence(
    text: str, values: Sequence[float | None] | None, limit: float, above: bool = True, **options: Any
) -> Evidence:
    """As `mean_evidence`, but undecided if a value could not be measured."""
    known = [value for value in values or [] if value is not None]
    if values is not None and len(known) == len(values):
        return mean_evidence(text, known, limit, above, **options)
    unknown = mean_evidence(text, [limit], limit, above, **options)
    return unknown | {"estimate": None, "n": 0, "values": [], "test": "not measured: too few epochs"}


def _verdict(interval: list[float] | None, limit: float, above: bool) -> str:
    if interval is None:
        return UNDECIDED
    low, high = interval if above else (-interval[1], -interval[0])
    limit = limit if above else -limit
    return HOLDS if low > limit else FAILS if high < limit else UNDECIDED


def judge_claim(claim: str, evidence: Sequence[Evidence], say: Callable[[Sequence[Evidence]], str]) -> dict[str, Any]:
    """{claim, verdict, sentence, parts, evidence}.

    A claim holds if all evidence supports it: an intersection-union test, whose error is at most that of a single test.
    It does not hold if any evidence contradicts it and half of its two-sided p times their number is at most ERROR
    (Bonferroni).
    """
    for each in evidence:
        if each["verdict"] == FAILS and (each["p"] or 0.0) / 2 * len(evidence) > ERROR:
            each["verdict"] = UNDECIDED
    parts = dict.fromkeys(each["part"] for each in evidence)
    return {
        "claim": claim,
        "verdict": combine(evidence),
        "sentence": say(evidence),
        "parts": [{"part": p, "verdict": combine([each for each in evidence if each["part"] == p])} for p in parts],
        "evidence": list(evidence),
    }


def combine(evidence: Sequence[Evidence]) -> str:
    """The verdict on what needs all of the evidence."""
    verdicts = {each["verdict"] for each in evidence}
    return FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else UNDECIDED
