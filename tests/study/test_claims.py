"""Verdicts for synthetic runs that support a claim, contradict it, or have too few epochs."""

import pytest

from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import Record
from fmnist_lightning.study.results import ablation, choices, compare, compare_to_reported, training_size
from tests.study.conftest import as_claimed, make_record, make_records


def verdicts(records: dict[Variant, dict[int, Record]]) -> list[str]:
    return [claim["verdict"] for claim in judge(records, {m: ablation(records, m) for m in ("ann", "cnn")})]


def test_all_claims_hold_for_runs_that_support_them():
    assert verdicts(make_records(as_claimed)) == ["holds"] * 6


@pytest.mark.parametrize(
    ("claim", "contrary"),
    [
        (1, lambda variant, seed: make_record(num_wrong=12 + seed % 2 if variant.model == "cnn" else 5)),
        (2, lambda variant, seed: make_record(overfits=(0.5 if variant.dropout else 0.1) + 0.01 * seed)),
        (3, lambda variant, seed: make_record(slow=3 + seed % 2 if variant.batch_norm else 0)),
        (4, lambda variant, seed: make_record(rough=0.5 + 0.01 * seed)),
        (5, lambda variant, seed: make_record(num_wrong=40 + seed)),
        (6, lambda variant, seed: make_record(num_wrong=5 + round((8 + seed) * variant.train_fraction))),
    ],
)
def test_claim_does_not_hold_for_runs_that_contradict_it(claim, contrary):
    assert verdicts(make_records(contrary))[claim - 1] == "does not hold"


def test_one_seed_decides_nothing_that_varies_between_seeds():
    decided = verdicts(make_records(as_claimed, seeds=1))
    assert [decided[i] for i in (0, 1, 2, 3, 5)] == ["undecided"] * 5


def test_claim_about_early_stopping_is_undecided_if_it_ended_no_run():
    records = make_records(lambda variant, seed: make_record(num_wrong=5 + seed, extra=0))
    claim = judge(records, {m: ablation(records, m) for m in ("ann", "cnn")})[3]
    assert claim["verdict"] == "undecided"
    assert "early stopping ended none of the runs" in [part["test"] for part in claim["evidence"]]


def test_each_verdict_has_evidence():
    records = make_records(as_claimed)
    for claim in judge(records, {m: ablation(records, m) for m in ("ann", "cnn")}):
        assert claim["evidence"]
        for part in claim["evidence"]:
            assert part["text"] and part["test"] and part["criterion"]
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
    records = make_records(as_claimed)
    result = compare(records[Variant("cnn")], "cnn")
    assert result["n"] == 3
    assert result["per_class"][6]["recall"]["reported"] == 0.71
    assert sum(map(sum, result["confusion_matrix"])) == pytest.approx(1000, abs=0.1)
    sizes = training_size(records, "ann")
    assert [row["fraction"] for row in sizes] == [0.05, 0.1, 0.25, 0.5, 1.0]
    assert sizes[0]["accuracy"]["mean"] < sizes[-1]["accuracy"]["mean"]
    table = ablation(records, "ann")
    assert {
        (variant["dropout"], variant["batch_norm"]): variant["gap_last"]["mean"] for variant in table["variants"]
    } == {
        (True, True): pytest.approx(0.11),
        (True, False): pytest.approx(0.11),
        (False, True): pytest.approx(0.51),
        (False, False): pytest.approx(0.51),
    }
    assert choices(records, "cnn")[0]["choice"] == "the recipe"
    assert len(choices(records, "cnn")) == 6
