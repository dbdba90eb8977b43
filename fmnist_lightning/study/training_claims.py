"""Evidence for the claims about training: effects of dropout, batch normalization and early stopping on the losses."""

from collections.abc import Callable
from statistics import mean

from fmnist_lightning.evaluation.statistics import rank_correlation
from fmnist_lightning.study.curves import FIRST_STABLE_EPOCH, epochs_to, fluctuation, largest_rise
from fmnist_lightning.study.evidence import Evidence, mean_evidence, no_evidence
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import Record, Records

LARGE_RISE = 0.1  # share of the validation loss's whole decrease
CLOSE_CORRELATION = 0.8  # rank correlation above which two losses decrease together

Measure = Callable[[Record, int], float | None]


def _effects(records: Records, model: str, factor: str, measure: Measure) -> list[float] | None:
    """The effect of removing dropout or batch_norm on a measure, by seed; None if the measure is undefined.

    The measure takes a run and the number of epochs that both runs of a pair have. Each value is the mean of two
    differences, with and without the other layer: two runs of one seed are not independent.
    """
    by_seed: dict[int, list[float]] = {}
    for other in (True, False):
        without, with_it = (
            records[Variant(model, on, other) if factor == "dropout" else Variant(model, other, on)]
            for on in (False, True)
        )
        for seed in sorted(without.keys() & with_it.keys()):
            pair = with_it[seed], without[seed]
            shorter = min(len(run.epochs) for run in pair)
            before, after = (measure(run, shorter) for run in pair)
            if before is None or after is None:
                return None
            by_seed.setdefault(seed, []).append(after - before)
    return [mean(differences) for differences in by_seed.values()]


def _effect(text: str, records: Records, model: str, factor: str, measure: Measure) -> Evidence:
    other = {"dropout": "batch normalization", "batch_norm": "dropout"}[factor]
    effects = _effects(records, model, factor, measure)
    if effects is None:
        return no_evidence(f"{model.upper()}: {text}", "too few epochs")
    test = f"paired t-test over seeds, each the mean of with and without {other}"
    return mean_evidence(f"{model.upper()}: {text}", effects, test)


def dropout_evidence(records: Records, model: str) -> list[Evidence]:
    """Dropout reduces overfitting."""
    text = "gap between validation and training loss at the last epoch (nats), without dropout minus with it"
    return [_effect(text, records, model, "dropout", lambda run, _: run.gap("last"))]


def batch_norm_evidence(records: Records, model: str, loss_to_reach: float) -> list[Evidence]:
    """Batch normalization makes training faster and more stable."""
    faster = f"epochs until the validation loss is at most {loss_to_reach:.2f}"
    more_stable = (
        f"standard deviation of the validation loss's changes from epoch to epoch (nats, "
        f"from epoch {FIRST_STABLE_EPOCH} to the last that both have)"
    )
    difference = "without batch normalization minus with it"
    return [
        _effect(f"{faster}, {difference}", records, model, "batch_norm", lambda run, _: epochs_to(run, loss_to_reach)),
        _effect(f"{more_stable}, {difference}", records, model, "batch_norm", fluctuation),
    ]


def losses_evidence(records: Records, model: str) -> list[Evidence]:
    """Both losses decrease together and without large rises; early stopping prevents overfitting."""
    runs = list(records[Variant(model)].values())
    until_best = [run.epochs[: run.summary["best_epoch"]] for run in runs]
    correlations = [
        rank_correlation([row["train/loss"] for row in rows], [row["val/loss"] for row in rows]) for rows in until_best
    ]
    text = f"{model.upper()}: rank correlation of training and validation loss up to the best epoch"
    known = [value for value in correlations if value is not None]
    correlation = (
        mean_evidence(text, known, "Spearman's correlation of each seed, t-interval of the mean", CLOSE_CORRELATION)
        if len(known) == len(runs)
        else no_evidence(text, "too few epochs")
    )
    text = (
        f"{model.upper()}: largest rise of the validation loss from one epoch to the next up to the best one, as a "
        "share of its whole decrease"
    )
    rises = [largest_rise([row["val/loss"] for row in rows]) for rows in until_best if len(rows) > 1]
    rise = (
        mean_evidence(text, rises, "t-interval of the mean over seeds", LARGE_RISE, above=False)
        if len(rises) == len(runs)
        else no_evidence(text, "too few epochs")
    )
    text = (
        f"{model.upper()}: gap between validation and training loss (nats) at the last epoch minus at the best one, "
        "of the runs that early stopping ended"
    )
    stopped = [run for run in runs if run.stopped_early]
    stopping = (
        mean_evidence(text, [run.gap("last") - run.gap("best") for run in stopped], "paired t-test over seeds")
        if stopped
        else no_evidence(text, "early stopping ended none of the runs")
    )
    return [correlation, rise, stopping]
