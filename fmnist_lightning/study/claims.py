"""The study's six claims, each with the figures that decide it.

A part of a claim is a number whose interval is compared with a limit: it holds where the whole 95 % interval lies on
the claim's side, does not hold where it lies on the other, and is undecided otherwise. A claim holds where all of its
parts do, and does not where one of them does not. Pairs share the seed: the same split and the same order of images.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import numpy as np

from fmnist_lightning.study.plan import FRACTIONS, Cell
from fmnist_lightning.study.printed import CLAIMS, MODELS
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.statistics import describe, mcnemar, proportion, rank_correlation, slope, t_test

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
TSHIRT, SHIRT = 0, 6  # labels
WELL = 0.8  # recall from which a class counts as recognised well
LARGE_SWING = 0.1  # of the whole fall of the validation loss
TOGETHER = 0.8  # rank correlation from which two losses fall together
SETTLED = 5  # epochs until the first, steep fall is over: swings count from there

Part = dict[str, Any]
Measure = Callable[[Record, int], float | None]


def judge(records: Records, ablation: dict[str, Any]) -> list[dict[str, Any]]:
    """All six: claim, verdict, evidence (its parts).

    Args:
        records: of all runs.
        ablation: as `results.ablation` returns it.
    """
    judges: tuple[Callable[[], list[Part]], ...] = (
        lambda: _cnn_beats_ann(records),
        lambda: [part for model in MODELS for part in _dropout(records, model)],
        lambda: [part for model in MODELS for part in _batch_norm(records, model, ablation[model]["loss_to_reach"])],
        lambda: [part for model in MODELS for part in _losses(records, model)],
        lambda: [part for model in MODELS for part in _classes(records, model)],
        lambda: [part for model in MODELS for part in _more_images(records, model)],
    )
    claims = []
    for claim, parts in zip(CLAIMS, (judge() for judge in judges), strict=True):
        verdicts = {part["verdict"] for part in parts}
        verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else UNDECIDED
        claims.append({"claim": claim, "verdict": verdict, "evidence": parts})
    return claims


def _part(text: str, values: Sequence[float], test: str, limit: float = 0.0, above: bool = True) -> Part:
    """A mean whose interval decides; of a single value there is none, and nothing is decided."""
    described = describe(values)
    return {
        "text": text,
        "estimate": described["mean"],
        **{key: described[key] for key in ("interval", "n", "values")},
        "must_be": f"{'above' if above else 'below'} {limit:g}",
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


def _share(text: str, count: int, num: int, limit: float) -> Part:
    result = proportion(count, num)
    return {
        "text": text,
        "estimate": result["share"],
        "interval": result["interval"],
        "n": num,
        "must_be": f"above {limit:.3g}",
        "test": "exact binomial interval (Clopper-Pearson)",
        "p": None,
        "verdict": _verdict(result["interval"], limit, above=True),
    }


def _cnn_beats_ann(records: Records) -> list[Part]:
    ann, cnn = records[Cell("ann")], records[Cell("cnn")]
    seeds = sorted(cnn.keys() & ann.keys())
    difference = _part(
        "test accuracy of the CNN less that of the ANN",
        [cnn[seed].accuracy - ann[seed].accuracy for seed in seeds],
        "paired t-test over seeds",
    )
    p_values, ahead = [], 0
    for seed in seeds:
        cnn_right, ann_right = (r[seed].predicted == r[seed].labels for r in (cnn, ann))
        only_cnn, only_ann = int((cnn_right & ~ann_right).sum()), int((ann_right & ~cnn_right).sum())
        p_values.append(mcnemar(only_cnn, only_ann))
        ahead += only_cnn > only_ann
    decided = len(seeds) > 1 and max(p_values) < 0.05
    return [
        difference,
        {
            "text": "seeds whose CNN is right on more of the test images than the ANN of that seed, each tested on the "
            "images that one of the two alone gets right",
            "estimate": ahead,
            "interval": None,
            "n": len(seeds),
            "must_be": "all, each with p < 0.05",
            "test": "McNemar's exact test; the largest p of the seeds",
            "p": max(p_values),
            "values": p_values,
            "verdict": {len(seeds): HOLDS, 0: FAILS}.get(ahead, UNDECIDED) if decided else UNDECIDED,
        },
    ]


def _effects(records: Records, model: str, factor: str, measure: Measure) -> list[float] | None:
    """What taking one of dropout and batch_norm away does to a measure, seed by seed; None where it is unknown.

    The measure gets a run and the number of epochs that both runs of a pair have. Each value is the mean of two
    differences, with the other of the two and without it: two runs of one seed are no independent evidence.
    """
    by_seed: dict[int, list[float]] = {}
    for there in (True, False):
        without, with_it = (
            records[Cell(model, on, there) if factor == "dropout" else Cell(model, there, on)] for on in (False, True)
        )
        for seed in sorted(without.keys() & with_it.keys()):
            pair = with_it[seed], without[seed]
            shorter = min(len(run.epochs) for run in pair)
            before, after = (measure(run, shorter) for run in pair)
            if before is None or after is None:
                return None
            by_seed.setdefault(seed, []).append(after - before)
    return [mean(differences) for differences in by_seed.values()]


def _effect(text: str, records: Records, model: str, factor: str, measure: Measure) -> Part:
    other = {"dropout": "batch normalization", "batch_norm": "dropout"}[factor]
    effects = _effects(records, model, factor, measure)
    if effects is None:
        return _nothing(f"{model.upper()}: {text}", "too few epochs")
    test = f"paired t-test over seeds, each the mean of with and without {other}"
    return _part(f"{model.upper()}: {text}", effects, test)


def _dropout(records: Records, model: str) -> list[Part]:
    text = "gap between validation and training loss at the last epoch (nats), without dropout less with it"
    return [_effect(text, records, model, "dropout", lambda run, _: run.gap("last"))]


def _batch_norm(records: Records, model: str, loss_to_reach: float) -> list[Part]:
    faster = f"epochs until the validation loss is at most {loss_to_reach:.2f}"
    steadier = (
        f"deviation of the validation loss's changes from epoch to epoch (nats, from epoch {SETTLED} to the last that "
        "both have)"
    )
    less = "without batch normalization less with it"
    return [
        _effect(f"{faster}, {less}", records, model, "batch_norm", lambda run, _: epochs_to(run, loss_to_reach)),
        _effect(f"{steadier}, {less}", records, model, "batch_norm", swing),
    ]


def epochs_to(record: Record, loss: float) -> float:
    """When the validation loss first is at most `loss`, in epochs, on straight lines between them; it must be reached.

    Where the first epoch reaches it: 1.
    """
    losses = [row["val/loss"] for row in record.epochs]
    reached = next(i for i, value in enumerate(losses) if value <= loss)
    if reached == 0:
        return 1.0
    before, after = losses[reached - 1 : reached + 1]
    return reached + (before - loss) / (before - after)


def swing(record: Record, until: int) -> float | None:
    """Deviation of the validation loss's changes between consecutive epochs, after the first, steep fall.

    A steady rise or fall does not count as a swing; None where fewer than three changes are left before `until`.
    """
    changes = np.diff([row["val/loss"] for row in record.epochs[SETTLED - 1 : until]])
    return float(changes.std(ddof=1)) if len(changes) > 2 else None


def _losses(records: Records, model: str) -> list[Part]:
    runs = list(records[Cell(model)].values())
    until_chosen = [run.epochs[: run.summary["best_epoch"]] for run in runs]
    correlations = [
        rank_correlation([row["train/loss"] for row in rows], [row["val/loss"] for row in rows])
        for rows in until_chosen
    ]
    text = f"{model.upper()}: rank correlation of training and validation loss up to the chosen epoch"
    known = [value for value in correlations if value is not None]
    together = (
        _part(text, known, "Spearman's correlation of each seed, t-interval of the mean", TOGETHER)
        if len(known) == len(runs)
        else _nothing(text, "too few epochs")
    )
    text = (
        f"{model.upper()}: largest rise of the validation loss from one epoch to the next up to the chosen one, as a "
        "share of its whole fall"
    )
    rises = [_largest_rise([row["val/loss"] for row in rows]) for rows in until_chosen if len(rows) > 1]
    swings = (
        _part(text, rises, "t-interval of the mean over seeds", LARGE_SWING, above=False)
        if len(rises) == len(runs)
        else _nothing(text, "too few epochs")
    )
    text = (
        f"{model.upper()}: gap between validation and training loss (nats) at the last epoch less at the chosen one, "
        "of the runs that early stopping ended"
    )
    stopped = [run for run in runs if run.stopped_early]
    stopping = (
        _part(text, [run.gap("last") - run.gap("best") for run in stopped], "paired t-test over seeds")
        if stopped
        else _nothing(text, "early stopping ended none of the runs")
    )
    return [together, swings, stopping]


def _largest_rise(losses: list[float]) -> float:
    """Of losses whose last is the lowest, as a share of their whole fall."""
    return max(0.0, *(after - before for before, after in pairwise(losses))) / (losses[0] - losses[-1])


def _classes(records: Records, model: str) -> list[Part]:
    runs = list(records[Cell(model)].values())
    matrix = np.mean([run.summary["test"]["confusion_matrix"] for run in runs], axis=0)
    supports = matrix.sum(axis=1).round().astype(int)
    recalls = [proportion(round(matrix[label, label]), int(support)) for label, support in enumerate(supports)]
    well = sum(recall["interval"][0] > WELL for recall in recalls)
    badly = sum(recall["interval"][1] < WELL for recall in recalls)
    half = len(recalls) / 2
    parts = [
        {
            "text": f"{model.upper()}: classes of ten of whose images more than {WELL:.0%} are recognised",
            "estimate": well,
            "interval": [well, len(recalls) - badly],
            "n": len(recalls),
            "must_be": f"more than {half:g}",
            "test": "exact binomial interval of each class (Clopper-Pearson), mean over seeds",
            "p": None,
            "verdict": HOLDS if well > half else FAILS if len(recalls) - badly <= half else UNDECIDED,
        }
    ]
    for true, instead, words in ((TSHIRT, SHIRT, "T-shirts, to Shirt"), (SHIRT, TSHIRT, "shirts, to T-shirt/top")):
        wrong = round(matrix[true].sum() - matrix[true, true])
        text = f"{model.upper()}: share of the wrong answers for {words}; a ninth were chance"
        count = round(matrix[true, instead])
        parts.append(_share(text, count, wrong, 1 / 9) if wrong else _nothing(text, "no wrong answer"))
    both = matrix + matrix.T
    order = sorted(((both[i, j], i, j) for i in range(10) for j in range(i)), reverse=True)
    rank = 1 + [pair[1:] for pair in order].index((SHIRT, TSHIRT))
    parts[-1]["text"] += f" (of 45 pairs of classes, these two are confused {_ordinal(rank)})"
    return parts


def _ordinal(rank: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"} if rank // 10 != 1 else {}
    return "most" if rank == 1 else f"{rank}{endings.get(rank % 10, 'th')} most"


def _more_images(records: Records, model: str) -> list[Part]:
    cells = {fraction: records[Cell(model, train_fraction=fraction)] for fraction in (*FRACTIONS, 1.0)}
    seeds = sorted(set.intersection(*(set(runs) for runs in cells.values())))
    doublings = np.log2(list(cells)).tolist()
    half, whole = cells[0.5], cells[1.0]
    return [
        _part(
            f"{model.upper()}: test accuracy won with each doubling of the training images (least squares)",
            [slope(doublings, [runs[seed].accuracy for runs in cells.values()]) for seed in seeds],
            "t-test of the slope over seeds",
        ),
        _part(
            f"{model.upper()}: test accuracy with all training images less with half of them",
            [whole[seed].accuracy - half[seed].accuracy for seed in seeds],
            "paired t-test over seeds",
        ),
    ]


def _nothing(text: str, why: str) -> Part:
    return {
        "text": text,
        "estimate": None,
        "interval": None,
        "n": 0,
        "must_be": "",
        "test": why,
        "p": None,
        "verdict": UNDECIDED,
    }
