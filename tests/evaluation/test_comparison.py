import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import f1_score, recall_score

from fmnist_lightning.evaluation.comparison import (
    ComparedRun,
    Comparison,
    macro_f1,
    only_correct,
    per_class,
)
from fmnist_lightning.evaluation.comparison_page import curves
from fmnist_lightning.evaluation.comparison_terminal import print_comparison
from fmnist_lightning.evaluation.paired import mcnemar, paired_difference
from tests.evaluation.conftest import NAMES, compared, compared_runs


@pytest.fixture
def runs() -> list[ComparedRun]:
    """Two runs that are right about two times of three, partly on the same images; B never predicts class 9."""
    return compared_runs(2)


def test_difference_is_that_of_the_images_that_only_one_run_gets_right():
    # of 10 images both are right on 4, only the run on 3, only the reference on 1
    run = torch.tensor([1, 1, 1, 1, 1, 1, 1, 0, 0, 0]).bool()
    reference = torch.tensor([1, 1, 1, 1, 0, 0, 0, 1, 0, 0]).bool()
    found = paired_difference(run, reference)
    assert (found.estimate, found.only_run, found.only_reference, found.num_images) == (pytest.approx(0.2), 3, 1, 10)
    assert found.p == pytest.approx(2 * (1 + 4) / 2**4)  # of 4 coins at most one shows tails
    assert found.interval == pytest.approx((-0.2, 0.6))
    swapped = paired_difference(reference, run)
    assert (swapped.estimate, swapped.p) == (pytest.approx(-0.2), found.p)


def test_interval_equals_scipys_bootstrap(runs):
    run, reference = (each.correct for each in runs)
    found = paired_difference(run, reference)
    values = run.double().numpy() - reference.double().numpy()
    expected = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=0).confidence_interval
    assert found.interval == pytest.approx(tuple(expected), abs=0.004)  # 2 of 500 images
    assert found.estimate == pytest.approx(values.mean())


def test_equal_predictions_have_no_difference(runs):
    found = paired_difference(runs[0].correct, runs[0].correct)
    assert (found.estimate, found.interval, found.p) == (0, (0, 0), 1)


def test_mcnemar_is_the_sign_test_of_images_that_only_one_model_classifies_correctly():
    assert mcnemar(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(0, 0) == 1.0


def test_classes_have_scikit_learns_scores_and_marks_where_recall_differs(runs):
    a, b = runs
    table = per_class(a, [b], NAMES)
    for measure, score in (("recall", recall_score), ("F1", f1_score)):
        expected_a, expected_b = (
            score(run.labels, run.predicted, labels=range(10), average=None, zero_division=0) for run in runs
        )
        assert [row.name for row in table[measure]] == list(NAMES)
        assert [row.reference for row in table[measure]] == pytest.approx(expected_a)
        assert [row.differences[0] for row in table[measure]] == pytest.approx(expected_b - expected_a)
    assert [row.is_significant for row in table["recall"]] == [[False]] * 9 + [[True]]
    assert not any(row.is_significant[0] for row in table["F1"])
    assert macro_f1(b) == pytest.approx(f1_score(b.labels, b.predicted, average="macro"))


def test_images_that_only_one_run_gets_right_come_by_the_difference_of_their_probabilities():
    labels = torch.tensor([0, 0, 0, 1])
    right = compared("A", torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), labels)
    wrong = compared("B", torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]]), labels)
    assert only_correct(right, wrong, num=5) == [1, 0]
    assert only_correct(right, wrong, num=1) == [1]
    assert only_correct(wrong, right, num=5) == [3]


def test_terminal_has_80_columns_and_says_what_the_interval_covers(runs, capsys):
    settings = {"optimizer.lr": ["0.003", "0.0003"], "seed": ["0", "0"]}
    told = Comparison(runs, runs[0], "the first run", settings, [runs], {"A", "B"}, ["B: a warning\x1b[2J"], NAMES)
    print_comparison(told)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "A outputs/A reference: the first run optimizer.lr=0.003 seed=0 B outputs/B optimizer.lr=0.0003" in flat
    assert "not the random seed of training" in flat
    assert "Bonferroni" not in flat
    assert "(mean ± std, n = 2 seeds)" in flat
    assert "*** B: a warning?[2J ***" in flat
    found = told.differences["B"]
    assert f"B {found.estimate:+.4f} {found.interval[0]:+.4f} to {found.interval[1]:+.4f}" in flat


def test_several_comparisons_are_corrected_for_and_other_images_are_not_tested(runs):
    labels = runs[0].labels
    runs += [compared(name, torch.randn(500, 10), labels) for name in "CD"]
    told = Comparison(runs, runs[0], "the first run", {}, [], {"A", "B", "C"}, [], NAMES)
    assert list(told.differences) == ["B", "C"]
    assert "2 comparisons: at the 5 % level, a p below 0.05/2 is significant (Bonferroni)." in told.explanations
    alone = Comparison(runs, runs[0], "the first run", {}, [], {"A"}, [], NAMES)
    assert (alone.differences, alone.explanations) == ({}, [])


def test_curves_leave_out_non_finite_values_and_their_names_do_not_overlap():
    runs = compared_runs(8)
    runs[7].epochs[1]["val/loss"] = float("nan")
    chart = curves(runs, "loss")
    ends = [line["points"][-1][0] for line in chart["lines"]]
    assert ends == [100.0] * 7 + [0.0]
    names = sorted(line["name_at"] for line in chart["lines"][:7])
    assert min(np.diff(names)) >= 5.99
    assert 0 <= names[0] <= names[-1] <= 100
    assert chart["text"].startswith("Validation loss by epoch. A: 0.5000 in epoch 1, 0.4500 in epoch 2; B: ")
    assert chart["lines"][0]["best"] == chart["lines"][0]["points"][1]
    assert curves([compared("A", torch.zeros(10, 10), torch.arange(10), epochs=())], "loss") is None
