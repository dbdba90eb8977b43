"""The study's six claims, each with the evidence that decides it. Paired runs share the seed.

Same seed: the same order of images, and of the same network the same initial weights; the split is the same for all.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fmnist_lightning.evaluation.paired import discordant, mcnemar
from fmnist_lightning.study.evidence import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Evidence,
    judge_claim,
    mean_evidence,
    measured_evidence,
)
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.reported import CLAIMS, MODELS
from fmnist_lightning.study.sentences import SENTENCES
from fmnist_lightning.study.training_claims import batch_norm_evidence, dropout_evidence, losses_evidence
from fmnist_lightning.study.training_size import ACCURACY_EFFECT, more_images_evidence

TSHIRT, SHIRT = 0, 6  # labels
HIGH_RECALL = 0.835  # the accuracy of people who are not experts, on the page of the dataset's authors
CONFUSED = 2 / 9  # twice the share by chance of each of the nine other classes
ACCURACY, EACH_SEED, RECALL, CONFUSION = "accuracy", "in each seed", "most classes", "shirts and T-shirts"


def judge(records: Records) -> list[dict[str, Any]]:
    """{claim, verdict, sentence, parts, evidence} of each claim, from the records of all runs."""
    by_model = (dropout_evidence, batch_norm_evidence, losses_evidence, _classes, more_images_evidence)
    evidence = [_cnn_beats_ann(records)]
    evidence += [[each for model in MODELS for each in find(records, model)] for find in by_model]
    return [judge_claim(*each) for each in zip(CLAIMS, evidence, SENTENCES, strict=True)]


def _cnn_beats_ann(records: Records) -> list[Evidence]:
    ann, cnn = records[Variant("ann")], records[Variant("cnn")]
    seeds = sorted(cnn.keys() & ann.keys())
    difference = mean_evidence(
        "test accuracy of the CNN minus that of the ANN",
        [cnn[seed].accuracy - ann[seed].accuracy for seed in seeds],
        ACCURACY_EFFECT,
        part=ACCURACY,
    )
    return [difference, _each_seed([(cnn[seed], ann[seed]) for seed in seeds])]


def _each_seed(pairs: Sequence[tuple[Record, Record]]) -> Evidence:
    """The seeds whose CNN is better, each tested over the images."""
    counts = [discordant(*(run.predicted == run.labels for run in pair)) for pair in pairs]
    p_values = [mcnemar(*each) for each in counts]
    ahead = sum(only_cnn > only_ann for only_cnn, only_ann in counts)
    decided = len(pairs) > 1 and max(p_values) < 0.05
    return {
        "text": "seeds whose CNN classifies more test images correctly than the ANN of that seed, each tested on "
        "the images that only one of the two classifies correctly",
        "part": EACH_SEED,
        "model": None,
        "unit": "",
        "limit": None,
        "above": None,
        "estimate": ahead,
        "interval": None,
        "n": len(pairs),
        "values": p_values,
        "criterion": f"all {len(pairs)}, each with p < 0.05",
        "test": "McNemar's exact test; p is the largest of the seeds",
        "p": max(p_values),
        "verdict": {len(pairs): HOLDS, 0: FAILS}.get(ahead, UNDECIDED) if decided else UNDECIDED,
    }


def _classes(records: Records, model: str) -> list[Evidence]:
    matrices = [np.array(run.summary["test"]["confusion_matrix"]) for run in records[Variant(model)].values()]
    recalls = [np.sort(np.diag(matrix) / matrix.sum(axis=1)) for matrix in matrices]
    rank = _rank_of_pair(np.sum(matrices, axis=0))
    parts = [
        mean_evidence(
            "sixth-highest recall of the ten classes: more than half of the classes have at least this recall",
            [float(recall[-6]) for recall in recalls],
            HIGH_RECALL,
            part=RECALL,
            model=model,
            test="t-test over seeds",
        )
    ]
    for true, predicted_as, names in (
        (TSHIRT, SHIRT, "T-shirts that are predicted as Shirt"),
        (
            SHIRT,
            TSHIRT,
            f"shirts that are predicted as T-shirt/top (of 45 pairs of classes, these two are confused {rank})",
        ),
    ):
        wrong = [int(matrix[true].sum() - matrix[true, true]) for matrix in matrices]
        shares = [float(m[true, predicted_as] / num) if num else None for m, num in zip(matrices, wrong, strict=True)]
        text = f"share of the misclassified {names}; chance level is 1/9"
        parts.append(measured_evidence(text, shares, CONFUSED, part=CONFUSION, model=model, test="t-test over seeds"))
    return parts


def _rank_of_pair(matrix: np.ndarray[Any, Any]) -> str:
    both = matrix + matrix.T
    order = sorted(((both[i, j], i, j) for i in range(len(both)) for j in range(i)), reverse=True)
    rank = 1 + [pair[1:] for pair in order].index((SHIRT, TSHIRT))
    endings = {1: "st", 2: "nd", 3: "rd"} if rank // 10 != 1 else {}
    return "most" if rank == 1 else f"{rank}{endings.get(rank % 10, 'th')} most"
