"""The study's six claims, each with the evidence that decides it.

A claim holds if all of its evidence supports it, and does not hold if any contradicts it. Paired runs share the seed:
the same split and the same order of images.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fmnist_lightning.evaluation.paired import mcnemar
from fmnist_lightning.evaluation.statistics import proportion, slope
from fmnist_lightning.study.evidence import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    mean_evidence,
    no_evidence,
    share_evidence,
)
from fmnist_lightning.study.plan import FRACTIONS, Variant
from fmnist_lightning.study.records import Records
from fmnist_lightning.study.reported import CLAIMS, MODELS
from fmnist_lightning.study.training_claims import batch_norm_evidence, dropout_evidence, losses_evidence

TSHIRT, SHIRT = 0, 6  # labels
HIGH_RECALL = 0.8  # recall above which a class counts as recognised well


def judge(records: Records, ablation: dict[str, Any]) -> list[dict[str, Any]]:
    """{claim, verdict, evidence} of each claim.

    Args:
        records: of all runs.
        ablation: as `results.ablation` returns it.
    """
    judges: tuple[Callable[[], list[Evidence]], ...] = (
        lambda: _cnn_beats_ann(records),
        lambda: [evidence for model in MODELS for evidence in dropout_evidence(records, model)],
        lambda: [
            evidence
            for model in MODELS
            for evidence in batch_norm_evidence(records, model, ablation[model]["loss_to_reach"])
        ],
        lambda: [evidence for model in MODELS for evidence in losses_evidence(records, model)],
        lambda: [evidence for model in MODELS for evidence in _classes(records, model)],
        lambda: [evidence for model in MODELS for evidence in _more_images(records, model)],
    )
    claims = []
    for claim, evidence in zip(CLAIMS, (judge() for judge in judges), strict=True):
        verdicts = {part["verdict"] for part in evidence}
        verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else UNDECIDED
        claims.append({"claim": claim, "verdict": verdict, "evidence": evidence})
    return claims


def _cnn_beats_ann(records: Records) -> list[Evidence]:
    ann, cnn = records[Variant("ann")], records[Variant("cnn")]
    seeds = sorted(cnn.keys() & ann.keys())
    difference = mean_evidence(
        "test accuracy of the CNN minus that of the ANN",
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
            "text": "seeds whose CNN classifies more test images correctly than the ANN of that seed, each tested on "
            "the images that only one of the two classifies correctly",
            "estimate": ahead,
            "interval": None,
            "n": len(seeds),
            "criterion": "all, each with p < 0.05",
            "test": "McNemar's exact test; the largest p of the seeds",
            "p": max(p_values),
            "values": p_values,
            "verdict": {len(seeds): HOLDS, 0: FAILS}.get(ahead, UNDECIDED) if decided else UNDECIDED,
        },
    ]


def _classes(records: Records, model: str) -> list[Evidence]:
    runs = list(records[Variant(model)].values())
    matrix = np.mean([run.summary["test"]["confusion_matrix"] for run in runs], axis=0)
    supports = matrix.sum(axis=1).round().astype(int)
    recalls = [proportion(round(matrix[label, label]), int(support)) for label, support in enumerate(supports)]
    high = sum(recall["interval"][0] > HIGH_RECALL for recall in recalls)
    low = sum(recall["interval"][1] < HIGH_RECALL for recall in recalls)
    half = len(recalls) / 2
    parts = [
        {
            "text": f"{model.upper()}: classes (of ten) with a recall above {HIGH_RECALL:.0%}",
            "estimate": high,
            "interval": [high, len(recalls) - low],
            "n": len(recalls),
            "criterion": f"more than {half:g}",
            "test": "exact binomial interval of each class (Clopper-Pearson), mean over seeds",
            "p": None,
            "verdict": HOLDS if high > half else FAILS if len(recalls) - low <= half else UNDECIDED,
        }
    ]
    for true, predicted_as, label in (
        (TSHIRT, SHIRT, "T-shirts that are predicted as Shirt"),
        (SHIRT, TSHIRT, "shirts that are predicted as T-shirt/top"),
    ):
        wrong = round(matrix[true].sum() - matrix[true, true])
        text = f"{model.upper()}: share of the misclassified {label}; chance level is 1/9"
        count = round(matrix[true, predicted_as])
        parts.append(share_evidence(text, count, wrong, 1 / 9) if wrong else no_evidence(text, "none is misclassified"))
    both = matrix + matrix.T
    order = sorted(((both[i, j], i, j) for i in range(10) for j in range(i)), reverse=True)
    rank = 1 + [pair[1:] for pair in order].index((SHIRT, TSHIRT))
    parts[-1]["text"] += f" (of 45 pairs of classes, these two are confused {_ordinal(rank)})"
    return parts


def _ordinal(rank: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"} if rank // 10 != 1 else {}
    return "most" if rank == 1 else f"{rank}{endings.get(rank % 10, 'th')} most"


def _more_images(records: Records, model: str) -> list[Evidence]:
    variants = {fraction: records[Variant(model, train_fraction=fraction)] for fraction in (*FRACTIONS, 1.0)}
    seeds = sorted(set.intersection(*(set(runs) for runs in variants.values())))
    doublings = np.log2(list(variants)).tolist()
    half, whole = variants[0.5], variants[1.0]
    return [
        mean_evidence(
            f"{model.upper()}: gain in test accuracy per doubling of the training images (least squares)",
            [slope(doublings, [runs[seed].accuracy for runs in variants.values()]) for seed in seeds],
            "t-test of the slope over seeds",
        ),
        mean_evidence(
            f"{model.upper()}: test accuracy with all training images minus with half of them",
            [whole[seed].accuracy - half[seed].accuracy for seed in seeds],
            "paired t-test over seeds",
        ),
    ]
