"""Evidence for the claims about training: effects of dropout, batch normalization and early stopping on the losses."""

import math
from collections.abc import Callable
from statistics import mean

from fmnist_lightning.evaluation.statistics import rank_correlation
from fmnist_lightning.study.curves import FIRST_STABLE_EPOCH, epochs_to, fluctuation, largest_rise
from fmnist_lightning.study.evidence import PAIRED, Evidence, measured_evidence
from fmnist_lightning.study.plan import (
    EPOCHS,
    LONG_EPOCHS,
    Variant,
    ablation_variants,
    with_early_stopping,
    without_early_stopping,
)
from fmnist_lightning.study.records import Record, Records

# The limits are smallest effects that matter; docs/analysis-plan.md gives the reasons.
LOSS_EFFECT = 0.01  # nats: 1 % of the probability of the true class
EPOCHS_EFFECT = 1.0
FLUCTUATION_EFFECT = 0.1  # share of the fluctuation without batch normalization
LARGE_RISE = 0.1  # share of the validation loss's whole decrease
CLOSE_CORRELATION = 0.8  # rank correlation above which two losses decrease together
LOSS_TO_REACH = {"ann": 0.33, "cnn": 0.25}  # nats; all pilot runs of the four variants reached it

GAP, VALIDATION = "gap", "validation loss"
FASTER, MORE_STABLE = "faster", "more stable"
TOGETHER, NO_RISES, STOPPING = "losses fall together", "no large rises", "early stopping prevents overfitting"


def _effects(
    records: Records, model: str, factor: str, measure: Callable[[Record], float | None]
) -> list[float] | None:
    """The measure without dropout or batch_norm minus that with it, by seed; None if it is undefined.

    Each value is the mean of two differences, with and without the other layer: two runs of one seed are not
    independent.
    """
    by_seed: dict[int, list[float]] = {}
    variants = ablation_variants(model)
    for with_it in (variant for variant in variants if getattr(variant, factor)):
        without = with_it._replace(**{factor: False})  # type: ignore[arg-type]
        for seed in sorted(records[without].keys() & records[with_it].keys()):
            value_with, value_without = (measure(records[variant][seed]) for variant in (with_it, without))
            if value_with is None or value_without is None:
                return None
            by_seed.setdefault(seed, []).append(value_without - value_with)
    return [mean(differences) for differences in by_seed.values()]


def dropout_evidence(records: Records, model: str) -> list[Evidence]:
    """Dropout reduces overfitting."""
    parts: dict[str, Callable[[Record], float]] = {
        GAP: lambda run: run.gap("last"),
        VALIDATION: lambda run: run.scores["last"]["val/loss"],
    }
    named = {GAP: "gap between validation and training loss"}
    return [
        measured_evidence(
            f"{named.get(part, part)} in epoch {EPOCHS}, without dropout minus with it",
            _effects(records, model, "dropout", measure),
            LOSS_EFFECT,
            part=part,
            model=model,
            unit="nats",
            test=f"{PAIRED}, each the mean of with and without batch normalization",
        )
        for part, measure in parts.items()
    ]


def batch_norm_evidence(records: Records, model: str) -> list[Evidence]:
    """Batch normalization makes training faster and more stable."""
    to_reach = LOSS_TO_REACH[model]

    def log_fluctuation(run: Record) -> float | None:
        value = fluctuation(run)
        return math.log(value) if value else None

    logs = _effects(records, model, "batch_norm", log_fluctuation)
    test = f"{PAIRED}, each the mean of with and without dropout"
    return [
        measured_evidence(
            f"epochs until the validation loss is at most {to_reach:.2f}, without batch normalization minus with it",
            _effects(records, model, "batch_norm", lambda run: epochs_to(run, to_reach)),
            EPOCHS_EFFECT,
            part=FASTER,
            model=model,
            unit="epochs",
            test=test,
        ),
        measured_evidence(
            "share by which batch normalization reduces the fluctuation of the validation loss (standard deviation of "
            f"its changes from epoch to epoch, from epoch {FIRST_STABLE_EPOCH} on)",
            None if logs is None else [1 - math.exp(-value) for value in logs],
            FLUCTUATION_EFFECT,
            part=MORE_STABLE,
            model=model,
            test=test.replace("mean", "geometric mean"),
        ),
    ]


def losses_evidence(records: Records, model: str) -> list[Evidence]:
    """Both losses decrease together and without large rises; early stopping prevents overfitting."""
    runs = list(records[Variant(model)].values())
    until_best = [run.epochs[: run.summary["best_epoch"]] for run in runs]
    stopped, trained_on = records[with_early_stopping(model)], records[without_early_stopping(model)]
    after = f"in epoch {LONG_EPOCHS} minus in the epoch that early stopping selects"

    def rise(key: Callable[[Record, str], float]) -> list[float]:
        return [key(trained_on[seed], "last") - key(run, "best") for seed, run in stopped.items()]

    return [
        measured_evidence(
            "rank correlation of training and validation loss up to the best epoch",
            [
                rank_correlation([row["train/loss"] for row in rows], [row["val/loss"] for row in rows])
                for rows in until_best
            ],
            CLOSE_CORRELATION,
            part=TOGETHER,
            model=model,
            test="Spearman's correlation of each seed, t-test over seeds",
        ),
        measured_evidence(
            "largest rise of the validation loss from one epoch to the next up to the best epoch, as a share of its "
            "whole decrease",
            [largest_rise([row["val/loss"] for row in rows]) if len(rows) > 1 else None for rows in until_best],
            LARGE_RISE,
            above=False,
            part=NO_RISES,
            model=model,
            test="t-test over seeds",
        ),
        measured_evidence(
            f"gap between test and training loss {after}",
            rise(lambda run, checkpoint: run.gap(checkpoint, "test")),
            LOSS_EFFECT,
            part=STOPPING,
            model=model,
            unit="nats",
        ),
        measured_evidence(
            f"test loss {after}",
            rise(lambda run, checkpoint: run.scores[checkpoint]["test/loss"]),
            LOSS_EFFECT,
            part=STOPPING,
            model=model,
            unit="nats",
        ),
    ]
