"""Verdicts for synthetic runs that support a claim, contradict it, or leave it undecided."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from fmnist_lightning.study.claims import judge
from fmnist_lightning.study.early_stopping import compare_to_last
from fmnist_lightning.study.evidence import judge_claim, mean_evidence
from fmnist_lightning.study.plan import EPOCHS, Variant, with_early_stopping
from fmnist_lightning.study.provenance import costs, environment
from fmnist_lightning.study.results import compare, compare_to_reported
from fmnist_lightning.study.training_size import power_law, training_size
from fmnist_lightning.study.variants import ablation, choices
from tests.study.conftest import as_claimed, make_record, make_records

OTHER = {True: False, False: True}


def verdicts(make, seeds: int = 4) -> list[str]:
    return [claim["verdict"] for claim in judge(make_records(make, seeds))]


def test_all_claims_hold_for_runs_that_support_them():
    assert verdicts(as_claimed) == ["holds"] * 6


@pytest.mark.parametrize(
    ("claim", "contrary"),
    [
        (1, lambda variant, seed: make_record(num_wrong=12 + seed % 2 if variant.model == "cnn" else 5)),
        (2, lambda variant, seed: make_record(overfits=0.5 + 0.01 * seed if variant.dropout else 0.1)),
        (3, lambda variant, seed: make_record(slow=3 + seed % 2 if variant.batch_norm else 0)),
        (3, lambda variant, seed: make_record(rough=0.05 + 0.002 * seed if variant.batch_norm else 0.004)),
        (4, lambda variant, seed: make_record(rough=0.5 + 0.01 * seed)),
        (4, lambda variant, seed: make_record(overfits=0.02 + 0.002 * seed)),
        (5, lambda variant, seed: make_record(num_wrong=40 + seed)),
        (5, lambda variant, seed: make_record(num_wrong=12 + seed, to_each_other=0.05)),
        (6, lambda variant, seed: make_record(num_wrong=5 + round((8 + seed) * variant.train_fraction))),
        (6, lambda variant, seed: make_record(num_wrong=10 if variant.train_fraction == 1 else 10 - (seed > 2))),
    ],
)
def test_claim_does_not_hold_for_runs_that_contradict_it(claim, contrary):
    assert verdicts(contrary)[claim - 1] == "does not hold"


@pytest.mark.parametrize(
    ("claim", "mixed"),
    [
        (1, lambda variant, seed: make_record(num_wrong=5 + (seed + (variant.model == "cnn")) % 2)),
        (2, lambda variant, seed: make_record(overfits=0.2 + 0.2 * ((seed + variant.dropout) % 2))),
        (3, lambda variant, seed: make_record(slow=3 * ((seed + variant.batch_norm) % 2))),
        (4, lambda variant, seed: make_record(rough=0.25 * (seed % 2))),
        (5, lambda variant, seed: make_record(num_wrong=10 + 13 * (seed % 2))),
        (6, lambda variant, seed: make_record(num_wrong=5 + (seed + (variant.train_fraction == 1)) % 2)),
    ],
)
def test_claim_is_undecided_if_the_seeds_disagree(claim, mixed):
    assert verdicts(mixed)[claim - 1] == "undecided"


def test_cnn_that_is_better_on_few_images_of_each_seed_is_undecided():
    """16 of 1,000 images, gained on 76 and lost on 60: McNemar's p is 0.2."""
    records = make_records(as_claimed)
    for seed, run in records[Variant("ann")].items():
        predicted = run.labels.clone()
        predicted[: 76 + seed] += 1
        records[Variant("ann")][seed] = replace(run, predicted=predicted)
        other = run.labels.clone()
        other[-60:] -= 1
        records[Variant("cnn")][seed] = replace(records[Variant("cnn")][seed], predicted=other)
    first = judge(records)[0]["evidence"]
    assert (first[1]["estimate"], first[1]["verdict"]) == (4, "undecided")
    assert first[1]["p"] == pytest.approx(binomtest(60, 136).pvalue, rel=1e-6)


def test_one_seed_decides_nothing():
    assert verdicts(as_claimed, seeds=1) == ["undecided"] * 6


def test_too_few_epochs_are_not_measured():
    records = make_records(as_claimed)
    for record in (record for runs in records.values() for record in runs.values()):
        del record.epochs[2:]
        record.summary["best_epoch"] = 2
    stable, fall = (judge(records)[claim]["evidence"] for claim in (2, 3))
    assert stable[1]["estimate"] is fall[0]["estimate"] is None
    assert stable[1]["test"] == "not measured: too few epochs"
    assert "unknown" in judge(records)[2]["sentence"]


def test_evidence_has_a_limit_that_matters_and_small_effects_contradict():
    small = mean_evidence("gain", [0.001, 0.0012, 0.0011, 0.0009], 0.0025, part="gain")
    assert small["verdict"] == "does not hold"  # although it is significantly above 0
    assert small["interval"][0] > 0
    below = mean_evidence("rise", [0.05, 0.06, 0.055], 0.1, above=False, part="rise")
    assert (below["verdict"], below["criterion"]) == ("holds", "below 0.1")


def test_contradiction_is_corrected_for_the_number_of_tests():
    def verdict(num: int) -> str:
        weak = mean_evidence("gain", [-1.0, -0.4, -1.4, -0.4], 0.0, part="gain")
        assert 0.025 < weak["p"] < 0.05
        others = [mean_evidence("other", [1.0, 1.1, 1.2], 0.0, part="other") for _ in range(num - 1)]
        return judge_claim("claim", [weak, *others], lambda evidence: "")["verdict"]

    assert verdict(2) == "does not hold"
    assert verdict(4) == "undecided"


def test_errors_of_the_verdicts_are_at_most_5_percent():
    rng = np.random.default_rng(0)
    on_limit = [rng.normal(0.01, 0.01, (8, 5)) for _ in range(120)]  # claims with eight tests of five seeds

    def verdict(values: np.ndarray) -> str:
        evidence = [mean_evidence("", row.tolist(), 0.01, part="") for row in values]
        return judge_claim("", evidence, lambda evidence: "")["verdict"]

    one_on_limit = [np.vstack([values[:1], values[1:] + 1]) for values in on_limit]  # the others support the claim
    holds = [verdict(values) for values in one_on_limit].count("holds")
    assert 0 < holds / len(on_limit) < 0.07  # 2.5 %, and three standard errors
    found = [verdict(values) for values in on_limit]
    assert found.count("does not hold") / len(found) < 0.115  # 5 %, and three standard errors


def test_each_verdict_has_evidence_and_a_sentence():
    records = make_records(as_claimed)
    claims = judge(records)
    for claim in claims:
        assert claim["sentence"].endswith(".")
        assert "unknown" not in claim["sentence"]
        assert {part["part"] for part in claim["parts"]} == {part["part"] for part in claim["evidence"]}
        for part in claim["evidence"]:
            assert part["text"] and part["test"] and part["criterion"]
            assert part["n"] > 1
    first = claims[0]["evidence"][0]
    expected = [records[Variant("cnn")][s].accuracy - records[Variant("ann")][s].accuracy for s in range(4)]
    assert first["estimate"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert f"{100 * first['estimate']:.1f} percentage points higher" in claims[0]["sentence"]
    low, high = first["interval"]
    assert low <= first["estimate"] <= high


def test_sentences_state_the_direction():
    records = make_records(lambda variant, seed: make_record(overfits=(0.5 if variant.dropout else 0.1) + 0.01 * seed))
    assert "dropout raises the gap" in judge(records)[1]["sentence"]
    unchanged = make_records(lambda variant, seed: make_record(overfits=0.05))
    assert "changes the test loss by +0.000 and +0.000 nats" in judge(unchanged)[3]["sentence"]


def test_reported_value_is_within_if_the_prediction_interval_contains_it():
    accuracies = [0.879, 0.881, 0.883]
    assert compare_to_reported(accuracies, 0.88)["within"] is True
    assert compare_to_reported(accuracies, 0.90)["within"] is False
    assert compare_to_reported([0.88], 0.90)["within"] is None
    assert compare_to_reported(accuracies, 0.88)["difference"] == pytest.approx(0.001)


def test_tables_use_the_runs_of_the_right_variants():
    records = make_records(as_claimed)
    result = compare(records[Variant("cnn")], "cnn")
    assert result["n"] == 4
    assert result["per_class"][6]["recall"]["reported"] == 0.71
    assert sum(map(sum, result["confusion_matrix"])) == pytest.approx(1000, abs=0.1)
    sizes = training_size(records, "ann")
    assert [row["fraction"] for row in sizes] == [0.05, 0.1, 0.25, 0.5, 1.0]
    assert sizes[0]["accuracy"]["mean"] < sizes[-1]["accuracy"]["mean"]
    table = ablation(records, "ann")
    assert {
        (variant["dropout"], variant["batch_norm"]): variant["gap_last"]["mean"] for variant in table["variants"]
    } == {
        (True, True): pytest.approx(0.115),
        (True, False): pytest.approx(0.115),
        (False, True): pytest.approx(0.5),
        (False, False): pytest.approx(0.5),
    }


def test_choices_are_paired_with_the_recipe_and_have_three_seeds():
    records = make_records(as_claimed)
    for seed, record in records[Variant("cnn", choice="model.head=[]")].items():
        record.summary["val"] = {"loss": records[Variant("cnn")][seed].summary["val"]["loss"] + 0.02, "accuracy": 0.8}
    recipe, *rows = choices(records, "cnn")
    assert (recipe["choice"], recipe["val_loss_difference"]) == ("the recipe", None)
    assert all(row["seeds"] == [0, 1, 2] for row in rows)
    changed = next(row for row in rows if row["choice"] == "model.head=[]")
    assert changed["val_loss_difference"]["mean"] == pytest.approx(0.02)
    assert changed["val_accuracy_difference"]["mean"] == pytest.approx(-0.1)
    assert rows[-1]["choice"] == f"callbacks.early_stopping.patience={EPOCHS}"


def test_early_stopping_is_compared_whether_or_not_it_ends_a_run():
    records = make_records(as_claimed)
    result = compare_to_last(records, "ann")
    assert (result["num_stopped"], result["selected_epoch"]) == (4, [20] * 4)
    assert result["difference"]["gap"]["mean"] == pytest.approx(0.115 - 0.05)
    for seed, record in records[with_early_stopping("ann")].items():
        record.summary["max_epochs"] = 25
        assert not record.stopped_early, seed
    assert compare_to_last(records, "ann")["num_stopped"] == 0
    assert judge(records)[3]["verdict"] == "holds"


def test_early_stopping_is_judged_by_losses_that_select_no_epoch():
    records = make_records(as_claimed)
    for record in records[with_early_stopping("ann")].values():
        record.scores["best"]["val/loss"] = 0.0  # as if the selection had found an epoch by luck
    assert compare_to_last(records, "ann")["difference"]["gap"]["mean"] == pytest.approx(0.115 - 0.05)
    gaps = [part for part in judge(records)[3]["evidence"] if "gap between test and training" in part["text"]]
    assert gaps[0]["estimate"] == pytest.approx(0.115 - 0.05)


def test_power_law_recovers_known_parameters():
    rng = np.random.default_rng(1)
    images = [2400, 4800, 12000, 24000, 48000]
    rows = [
        {"images": num, "accuracy": {"values": (1 - 0.03 - 4 * num**-0.4 + rng.normal(0, 1e-4, 8)).tolist()}}
        for num in images
    ]
    law = power_law(rows, 200)
    assert law["a"] == pytest.approx(0.03, abs=0.005)
    assert law["c"] == pytest.approx(0.4, abs=0.03)
    assert all(low <= value <= high for value, (low, high) in ((law[name], law["intervals"][name]) for name in "abc"))
    gain = 4 * (48000**-0.4 - 96000**-0.4)
    low, high = law["doubling"]["gain_interval"]
    assert low <= gain <= high
    assert law["doubling"]["images"] == law["curve"][-1]["images"] == 96000


def test_power_law_is_not_fitted_to_errors_that_do_not_decrease():
    rows = [{"images": num, "accuracy": {"values": [0.9, 0.9]}} for num in (100, 200, 400)]
    assert power_law(rows, 10) is None


def test_costs_count_each_second_once():
    records = make_records(as_claimed)
    table = costs(records, "full", 2)
    scratch = sum(len(runs) for variant, runs in records.items() if not variant.base)
    assert table["fit_seconds"] == 10 * scratch  # continued runs of the same length trained nothing more
    assert table["run_seconds"] == 12 * table["runs"]
    assert sum(row["runs"] for row in table["by_purpose"]) == table["runs"]


def test_results_that_are_not_of_one_clean_commit_are_marked():
    facts = {"device": "a CPU", "precision": "32-true", "versions": {}, "code_sha256": "0", "data": "synthetic"}
    facts |= {"data_note": None, "data_sha256": "0", "split_sha256": "0"}
    records = make_records(as_claimed, seeds=1)
    summaries = [record.summary for runs in records.values() for record in runs.values()]
    for summary in summaries:
        summary.update(facts)
    assert environment(records)["problem"] is None
    summaries[3]["resumed"] = [{"git_commit": "89abcde", "git_dirty": True}]
    problem = environment(records)["problem"]
    assert "there were uncommitted changes and the runs are of 2 commits; to publish results, train" in problem
    summaries[3]["resumed"] = [{"git_commit": None, "git_dirty": None}]
    assert "the code is not a git checkout" in environment(records)["problem"]
