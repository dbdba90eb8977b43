import re

import pytest
import torch
from sklearn.metrics import classification_report, confusion_matrix, log_loss

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.scores import calibration_bins, confused_pairs, report_text, score, worst_mistakes
from fmnist_lightning.evaluation.terminal import print_scores

NAMES = FashionMNISTData.class_names


def test_scores_equal_scikit_learns(predictions):
    logits, labels = predictions
    scores = score(logits, labels, NAMES)
    predicted = logits.argmax(1)
    theirs = classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    assert scores["accuracy"] == pytest.approx(theirs["accuracy"], abs=1e-6)
    assert scores["loss"] == pytest.approx(log_loss(labels, logits.double().softmax(1).numpy()), abs=1e-5)
    for average in ("macro", "weighted"):
        for ours, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert scores[average][ours] == pytest.approx(theirs[f"{average} avg"][name], abs=1e-6)
    for label, row in enumerate(scores["per_class"]):
        assert (row["label"], row["name"], row["support"]) == (label, NAMES[label], 30)
        assert row["f1"] == pytest.approx(theirs[NAMES[label]]["f1-score"], abs=1e-6)
    assert scores["confusion_matrix"] == confusion_matrix(labels, predicted).tolist()


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = torch.full((100, 10), 0.2 / 9)
    probabilities[:, 0] = 0.8
    labels = torch.tensor([0] * 50 + [1] * 50)  # 80 % sure, 50 % right
    assert score(probabilities.log(), labels, NAMES)["calibration_error"] == pytest.approx(0.3, abs=1e-5)
    (only,) = calibration_bins(labels, probabilities)
    assert (only.low, only.high, only.num_images) == (12 / 15, 13 / 15, 100)
    assert (only.confidence, only.accuracy) == (pytest.approx(0.8), pytest.approx(0.5))


def test_the_calibration_error_is_that_of_the_reliability_diagram(predictions):
    logits, labels = predictions
    bins = calibration_bins(labels, logits.softmax(1))
    assert sum(part.num_images for part in bins) == len(labels)
    error = sum(part.num_images * abs(part.accuracy - part.confidence) for part in bins) / len(labels)
    assert score(logits, labels, NAMES)["calibration_error"] == pytest.approx(error, abs=1e-5)


def test_a_confidence_of_one_is_in_the_last_bin():
    (last,) = calibration_bins(torch.arange(10), torch.eye(10))
    assert (last.high, last.num_images, last.accuracy) == (1, 10, 1)


def test_a_class_that_is_never_predicted_counts_as_zero():
    logits, labels = torch.zeros(20, 10), torch.arange(20) % 10
    logits[:, 0] = 1
    scores = score(logits, labels, NAMES)
    assert scores["per_class"][1]["precision"] == 0
    assert scores["accuracy"] == pytest.approx(0.1)
    text = report_text(labels, logits.argmax(1), NAMES)
    assert "0.1000" in text


def test_confused_pairs_are_the_largest_mistakes_in_order():
    matrix = [[5, 3, 0], [1, 7, 0], [0, 4, 4]]
    assert confused_pairs(matrix, num=3) == [(2, 1, 4), (0, 1, 3), (1, 0, 1)]
    assert confused_pairs([[5, 0], [0, 5]]) == []


def test_the_worst_mistakes_are_wrong_and_ordered_by_the_probability_of_the_truth():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.99, 0.01]])
    labels = torch.tensor([0, 1, 1, 1, 1])
    assert worst_mistakes(labels, probabilities).tolist() == [4, 1, 3]
    assert worst_mistakes(labels, probabilities, num=1).tolist() == [4]


def test_the_terminal_shows_every_class_and_the_most_confused_pairs(predictions, capsys):
    logits, labels = predictions
    scores = score(logits, labels, NAMES)
    print_scores(scores, NAMES)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for row in scores["per_class"]:
        assert f"{row['f1']:.4f}" in shown
    true, predicted, _ = confused_pairs(scores["confusion_matrix"])[0]
    assert re.search(rf"^{NAMES[true]} +{NAMES[predicted]} ", shown, re.MULTILINE)
