"""Verdicts for synthetic runs that support a claim, contradict it, or have too few epochs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fmnist_lightning.evaluation.scores import score
from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.plan import Variant, plan
from fmnist_lightning.study.records import Record
from fmnist_lightning.study.results import ablation, choices, compare, compare_to_reported, training_size

NAMES = [str(label) for label in range(10)]
LABELS = torch.arange(10).repeat_interleave(100)
PREDICTED_AS = torch.tensor([6, 2, 3, 4, 5, 6, 0, 8, 9, 1])  # T-shirt for shirt and vice versa


def made_up(num_wrong: int = 8, overfits: float = 0.1, slow: int = 0, rough: float = 0.0, extra: int = 5) -> Record:
    """A run of 20 epochs up to the best one and `extra` after it.

    Args:
        num_wrong: misclassified images of each class of 100, four times as many for shirts.
        overfits: gap of the last epoch.
        slow: epochs later.
        rough: height of the validation loss's fluctuations.
        extra: epochs after the best one, in which the validation loss rises.
    """
    predicted = LABELS.clone()
    for label in range(10):
        num = min(num_wrong * 4, 90) if label == 6 else num_wrong
        predicted[label * 100 : label * 100 + num] = PREDICTED_AS[label]
    test = score(torch.nn.functional.one_hot(predicted, 10).float() * 9, LABELS, NAMES)
    val = [1 / (epoch + 1 - min(slow, epoch)) + rough * (epoch % 2) for epoch in range(20)]
    val[-1] = min(val) - 0.001
    val += [val[-1] + 0.01 * (epoch + 1) for epoch in range(extra)]
    epochs = [
        {"epoch": i + 1.0, "train/loss": 1 / (i + 1), "val/loss": loss, "train/accuracy": 0.9, "val/accuracy": 0.9}
        for i, loss in enumerate(val)
    ]
    summary: dict[str, Any] = {
        "test": test,
        "best_epoch": 20,
        "epochs": len(epochs),
        "max_epochs": 26 if extra else 20,
        "val": {"loss": min(val), "accuracy": 0.9},
        "fit_seconds": 10.0,
        "parameters": 1000,
        "split": {"train": 1000},
        "seed": 0,
    }
    losses = {"best": {"train": 0.2, "val": 0.25}, "last": {"train": 0.2, "val": 0.2 + overfits}}
    return Record(summary, epochs, losses, 12.0, LABELS, predicted)


def study(make: Callable[[Variant, int], Record], seeds: int = 3) -> dict[Variant, dict[int, Record]]:
    records: dict[Variant, dict[int, Record]] = {}
    for variant, seed in plan(range(seeds)):
        records.setdefault(variant, {})[seed] = make(variant, seed)
    return records


def as_claimed(variant: Variant, seed: int) -> Record:
    return made_up(
        num_wrong=(3 + seed % 2 if variant.model == "cnn" else 7) + round((2 + seed / 3) / variant.train_fraction),
        overfits=(0.1 if variant.dropout else 0.5) + 0.01 * seed,
        slow=0 if variant.batch_norm else 3,
        rough=0.004 + 0.001 * seed if variant.batch_norm else 0.05 + 0.004 * seed,
    )


def verdicts(records: dict[Variant, dict[int, Record]]) -> list[str]:
    return [claim["verdict"] for claim in judge(records, {m: ablation(records, m) for m in ("ann", "cnn")})]


def test_all_claims_hold_for_runs_that_support_them():
    assert verdicts(study(as_claimed)) == ["holds"] * 6


@pytest.mark.parametrize(
    ("claim", "contrary"),
    [
        (1, lambda variant, seed: made_up(num_wrong=12 + seed % 2 if variant.model == "cnn" else 5)),
        (2, lambda variant, seed: made_up(overfits=(0.5 if variant.dropout else 0.1) + 0.01 * seed)),
        (3, lambda variant, seed: made_up(slow=3 + seed % 2 if variant.batch_norm else 0)),
        (4, lambda variant, seed: made_up(rough=0.5 + 0.01 * seed)),
        (5, lambda variant, seed: made_up(num_wrong=40 + seed)),
        (6, lambda variant, seed: made_up(num_wrong=5 + round((8 + seed) * variant.train_fraction))),
    ],
)
def test_claim_does_not_hold_for_runs_that_contradict_it(claim, contrary):
    assert verdicts(study(contrary))[claim - 1] == "does not hold"


def test_one_seed_decides_nothing_that_varies_between_seeds():
    decided = verdicts(study(as_claimed, seeds=1))
    assert [decided[i] for i in (0, 1, 2, 3, 5)] == ["undecided"] * 5


def test_claim_about_early_stopping_is_undecided_if_it_ended_no_run():
    records = study(lambda variant, seed: made_up(num_wrong=5 + seed, extra=0))
    claim = judge(records, {m: ablation(records, m) for m in ("ann", "cnn")})[3]
    assert claim["verdict"] == "undecided"
    assert "early stopping ended none of the runs" in [part["test"] for part in claim["evidence"]]


def test_each_verdict_has_evidence():
    records = study(as_claimed)
    for claim in judge(records, {m: ablation(records, m) for m in ("ann", "cnn")}):
        assert claim["evidence"]
        for part in claim["evidence"]:
            assert part["text"] and part["test"] and part["must_be"]
            assert part["n"] > 1
    first = judge(records, {m: ablation(records, m) for m in ("ann", "cnn")})[0]["evidence"][0]
    assert first["estimate"] == pytest.approx(
        sum(records[Variant("cnn")][s].accuracy - records[Variant("ann")][s].accuracy for s in range(3)) / 3, abs=1e-6
    )
    low, high = first["interval"]
    assert low <= first["estimate"] <= high


def test_reported_value_is_within_if_the_prediction_interval_contains_it():
    accuracies = [0.879, 0.881, 0.883]
    assert compare_to_reported(accuracies, 0.88)["within"] is True
    assert compare_to_reported(accuracies, 0.90)["within"] is False
    assert compare_to_reported([0.88], 0.90)["within"] is None
    assert compare_to_reported(accuracies, 0.88)["difference"] == pytest.approx(0.001)


def test_tables_use_the_runs_of_the_right_variants():
    records = study(as_claimed)
    result = compare(records[Variant("cnn")], "cnn")
    assert result["n"] == 3
    assert result["per_class"][6]["recall"]["printed"] == 0.71
    assert sum(map(sum, result["confusion_matrix"])) == pytest.approx(1000, abs=0.1)
    sizes = training_size(records, "ann")
    assert [row["fraction"] for row in sizes] == [0.05, 0.1, 0.25, 0.5, 1.0]
    assert sizes[0]["accuracy"]["mean"] < sizes[-1]["accuracy"]["mean"]
    table = ablation(records, "ann")
    assert {(variant["dropout"], variant["batch_norm"]): variant["gap_last"]["mean"] for variant in table["cells"]} == {
        (True, True): pytest.approx(0.11),
        (True, False): pytest.approx(0.11),
        (False, True): pytest.approx(0.51),
        (False, False): pytest.approx(0.51),
    }
    assert choices(records, "cnn")[0]["choice"] == "the recipe"
    assert len(choices(records, "cnn")) == 6
