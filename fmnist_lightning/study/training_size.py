"""Scores by the number of training images, and a power law that predicts what twice as many would give.

error = a + b * images ** -c, with a, b, c >= 0, is fitted to the mean test errors by least squares of relative
residuals. The intervals come from a bootstrap over the seeds of each size.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from fmnist_lightning.evaluation.statistics import describe, slope
from fmnist_lightning.study.evidence import Evidence, mean_evidence
from fmnist_lightning.study.plan import FRACTIONS, Variant
from fmnist_lightning.study.records import Records

ACCURACY_EFFECT = 0.0025  # one binomial standard error of an accuracy of 0.93 on 10,000 images
NUM_RESAMPLES = 1000
LEVEL = 0.95
MAX_EXPONENT = 3.0
ALL_SIZES, LAST_DOUBLING = "all sizes", "last doubling"

Array = np.ndarray[Any, np.dtype[np.float64]]


def training_size(records: Records, model: str) -> list[dict[str, Any]]:
    """Scores by the share of the training images."""
    rows = []
    for fraction in (*FRACTIONS, 1.0):
        runs = records[Variant(model, train_fraction=fraction)]
        rows.append(
            {
                "fraction": fraction,
                "images": next(iter(runs.values())).summary["split"]["train"],
                "seeds": sorted(runs),
                "accuracy": describe([run.accuracy for run in runs.values()]),
                "val_loss": describe([run.scores["best"]["val/loss"] for run in runs.values()]),
                "gap": describe([run.gap("best") for run in runs.values()]),
            }
        )
    return rows


def more_images_evidence(records: Records, model: str) -> list[Evidence]:
    """More training images improve the test accuracy."""
    variants = {fraction: records[Variant(model, train_fraction=fraction)] for fraction in (*FRACTIONS, 1.0)}
    common = sorted(set.intersection(*(set(runs) for runs in variants.values())))
    doublings = np.log2(list(variants)).tolist()
    half, whole = variants[0.5], variants[1.0]
    return [
        mean_evidence(
            "gain in test accuracy per doubling of the training images (least squares over five sizes)",
            [slope(doublings, [runs[seed].accuracy for runs in variants.values()]) for seed in common],
            ACCURACY_EFFECT,
            part=ALL_SIZES,
            model=model,
            test="t-test of the slope over seeds",
        ),
        mean_evidence(
            "test accuracy with all training images minus with half of them",
            [whole[seed].accuracy - half[seed].accuracy for seed in sorted(half.keys() & whole.keys())],
            ACCURACY_EFFECT,
            part=LAST_DOUBLING,
            model=model,
        ),
    ]


def power_law(rows: list[dict[str, Any]], num_resamples: int = NUM_RESAMPLES) -> dict[str, Any] | None:
    """The fitted law with intervals, its curve, and its prediction for twice the images; None if nothing fits.

    Args:
        rows: of `training_size`.
        num_resamples: of the bootstrap.
    """
    images = np.array([row["images"] for row in rows], dtype=float)
    errors = [1 - np.array(row["accuracy"]["values"]) for row in rows]
    fitted = _fit(images, np.array([each.mean() for each in errors]))
    if fitted is None or min(map(len, errors)) < 2:
        return None
    rng = np.random.default_rng(0)
    resampled = (np.array([rng.choice(e, len(e)).mean() for e in errors]) for _ in range(num_resamples))
    laws = np.array([law for law in (_fit(images, means) for means in resampled) if law is not None])  # (R, 3)
    sizes = np.append(np.geomspace(images[0], images[-1], 17), np.geomspace(images[-1], 2 * images[-1], 5)[1:])
    curve = [
        {
            "images": round(num),
            "accuracy": _round(1 - _error(num, *fitted)),
            "interval": _quantiles(1 - _error(num, *laws.T)),
        }
        for num in sizes
    ]
    now, then = images[-1], 2 * images[-1]
    gains = _error(now, *laws.T) - _error(then, *laws.T)
    return {
        "formula": "error = a + b * images ** -c",
        **{name: _round(value) for name, value in zip("abc", fitted, strict=True)},
        "intervals": {name: _quantiles(values) for name, values in zip("abc", laws.T, strict=True)},
        "curve": curve,
        "doubling": {
            **curve[-1],
            "gain": _round(_error(now, *fitted) - _error(then, *fitted)),
            "gain_interval": _quantiles(gains),
        },
        "method": f"Least squares of relative residuals of the mean test errors; percentile intervals of {len(laws):,} "
        "bootstrap samples of the seeds of each size.",
        "note": f"More than {round(now):,} images is an extrapolation: it assumes that the same law continues. "
        "a is at least 0 by construction. With few seeds percentile intervals are too narrow.",
    }


def _error(images: Any, a: Any, b: Any, c: Any) -> Any:
    return a + b * images**-c


def _fit(images: Array, errors: Array) -> Array | None:
    """a, b and c; None if the errors do not decrease. For each c, a and b are linear: non-negative least squares."""
    if errors.min() <= 0 or errors[-1] >= errors[0]:
        return None
    scaled, ones = images / images[-1], np.ones(len(images))

    def solve(c: float) -> tuple[Array, float]:
        solution, residual = nnls(np.stack([ones, scaled**-c], axis=1) / errors[:, None], ones)
        return solution, float(residual)

    c = minimize_scalar(lambda c: solve(c)[1], bounds=(0, MAX_EXPONENT), method="bounded").x
    a, b = solve(c)[0]
    return np.array([a, b * images[-1] ** c, c])


def _quantiles(values: Array) -> list[float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [_round(low), _round(high)]


def _round(value: float) -> float:
    return float(f"{value:.6g}")
