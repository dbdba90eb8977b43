import base64
import io
import re

import pytest
import torch
from PIL import Image
from sklearn.metrics import classification_report, confusion_matrix, log_loss

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.report import build_report
from fmnist_lightning.evaluation.scores import confused_pairs, report_text, score, worst_mistakes
from fmnist_lightning.evaluation.terminal import print_scores

NAMES = FashionMNISTData.class_names


@pytest.fixture
def predictions():
    """Logits that are right about two times of three, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 10
    logits = torch.randn(300, 10, generator=generator)
    logits[torch.arange(300), labels] += 2
    return logits, labels


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


def summary_of(scores, **changes):
    facts = {
        "status": "completed",
        "model": "ann",
        "data": "fashion_mnist",
        "data_note": None,
        "seed": 0,
        "overrides": ["model=ann"],
        "parameters": 109386,
        "epochs": 2,
        "best_epoch": 1,
        "fit_seconds": 1.5,
        "device": "a CPU",
        "precision": "32-true",
        "split": {"train": 48000, "val": 12000, "test": 300},
        "data_sha256": "ab",
        "split_sha256": "cd",
        "git_commit": None,
        "git_dirty": None,
        "versions": {"torch": "1"},
        "monitored": {"metric": "val/loss", "mode": "min", "value": 0.5},
        "val": {"loss": 0.5, "accuracy": 0.8},
        "test": scores,
    }
    return facts | changes


@pytest.fixture
def epochs():
    row = {"train/loss": 0.6, "train/accuracy": 0.7, "val/loss": 0.5, "val/accuracy": 0.8}
    return [{"epoch": 1.0, **row}, {"epoch": 2.0, **row}]


def report(predictions, epochs, **changes):
    logits, labels = predictions
    summary = summary_of(score(logits, labels, NAMES), **changes)
    images = torch.zeros(300, 28, 28, dtype=torch.uint8)
    return build_report(summary, epochs, (labels, logits.softmax(1)), images, NAMES)


def test_the_page_says_where_each_part_of_a_run_was_trained(predictions, epochs):
    parts = [{"after_epoch": 3, "device": "another <b>GPU</b>", "git_commit": None}, {"after_epoch": 7}]
    page = report(predictions, epochs, resumed=parts)["report.html"]
    assert "after epoch 3, on another &lt;b&gt;GPU&lt;/b&gt;, commit <code>not from a checkout</code>" in page
    assert "after epoch 7, on " in page
    assert "<th>resumed" not in report(predictions, epochs)["report.html"]


@pytest.mark.parametrize(
    ("metric", "mode", "choice"),
    [
        ("val/loss", "min", "lowest validation loss"),
        ("val/accuracy", "max", "highest validation accuracy"),
        ("train/loss", "min", "lowest training loss"),
        ("val/f1", "max", "highest validation f1"),
        ("score", "max", "highest score"),
    ],
)
def test_the_page_names_the_monitored_metric_and_its_value(predictions, epochs, metric, mode, choice):
    page = report(predictions, epochs, monitored={"metric": metric, "mode": mode, "value": 0.75})["report.html"]
    assert f"chosen by the {choice}\n(0.7500 during training)" in page


def test_the_report_is_the_contracts_files_and_one_self_contained_page(predictions, epochs):
    files = report(predictions, epochs)
    assert sorted(files) == [
        "accuracy.png",
        "classification_report.txt",
        "confusion_matrix.png",
        "loss.png",
        "mistakes.png",
        "report.html",
    ]
    page = files["report.html"]
    assert not re.findall(r"""(?:src|href|srcset)=["'](?!data:image/png;base64,)""", page)
    assert "<script" not in page
    pictures = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)]
    assert len(pictures) == 8  # four, each for a light and a dark page
    assert {files[f"{name}.png"] for name in ("accuracy", "loss", "mistakes", "confusion_matrix")} < set(pictures)
    for picture in pictures:
        assert min(Image.open(io.BytesIO(picture)).size) > 300
    logits, labels = predictions
    assert files["classification_report.txt"] == classification_report(
        labels, logits.argmax(1), target_names=NAMES, digits=4
    )


def test_report_names_synthetic_images_and_interruptions(predictions, epochs):
    plain = report(predictions, epochs)["report.html"]
    assert "NOT Fashion-MNIST" not in plain
    assert "interrupted" not in plain
    note = "drawn garments, NOT Fashion-MNIST"
    told = report(predictions, epochs, data="synthetic", data_note=note, status="interrupted")["report.html"]
    assert note in told
    assert "interrupted after epoch 2" in told
    assert "ANN on Fashion-MNIST" not in told


def test_report_escapes_untrusted_text(predictions, epochs):
    page = report(predictions, epochs, overrides=["<script>alert(1)</script>"])["report.html"]
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_run_without_a_single_mistake_is_reported_too(epochs):
    labels = torch.arange(300) % 10
    logits = torch.eye(10)[labels] * 20
    assert "report.html" in report((logits, labels), epochs)


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
