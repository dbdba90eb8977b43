import base64
import html
import io
import re

import pytest
import torch
from PIL import Image
from sklearn.metrics import classification_report

from fmnist_lightning.evaluation.axes import epoch_axis, measure_axis
from fmnist_lightning.evaluation.origin import describe_hyperparameters, format_seconds
from tests.evaluation.conftest import EPOCH, NAMES, config_of, make_predictions, make_report

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def files():
    return make_report(make_predictions())


def facts_of(page):
    """The terms and descriptions of the page's lists, as text."""
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return {name: html.unescape(re.sub(r"<.*?>", "", value)) for name, value in pairs}


def test_the_page_says_where_each_part_of_a_run_was_trained(files, predictions):
    parts = [{"after_epoch": 3, "device": "another <b>GPU</b>", "git_commit": None}, {"after_epoch": 7}]
    page = make_report(predictions, resumed=parts)["report.html"]
    assert "after epoch 3, on another &lt;b&gt;GPU&lt;/b&gt;, commit <code>not from a checkout</code>" in page
    assert "after epoch 7, on " in page
    assert "<dt>resumed" not in files["report.html"]


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
def test_the_page_names_the_monitored_metric_and_its_value(predictions, metric, mode, choice):
    page = make_report(predictions, monitored={"metric": metric, "mode": mode, "value": 0.75})["report.html"]
    assert f"chosen by the {choice}\n(0.7500 during training)" in page


def test_the_report_is_the_contracts_files_and_one_self_contained_page(files, predictions):
    assert sorted(files) == [
        "accuracy.png",
        "classification_report.txt",
        "confusion_matrix.png",
        "loss.png",
        "mistakes.png",
        "report.html",
    ]
    page = files["report.html"]
    assert not re.findall(r"""(?:src|href|srcset)=["'](?!data:image/png;base64,|#)""", page)
    assert "url(" not in page
    assert "<script" not in page
    assert len(page) < 1.5e6
    for name in ("accuracy", "loss", "mistakes", "confusion_matrix"):
        assert min(Image.open(io.BytesIO(files[f"{name}.png"])).size) > 300
    logits, labels = predictions
    assert files["classification_report.txt"] == classification_report(
        labels, logits.argmax(1), target_names=NAMES, digits=4
    )


def test_the_page_says_how_the_run_was_made(predictions):
    overrides = ("model=cnn", "optimizer=sgd", "scheduler=cosine", "data.augment=true", "model.dropout=0.1")
    command = "python -m fmnist_lightning 'data.root=/a b' model=cnn"
    page = make_report(predictions, config=overrides, folder="/outputs/a run", command=command)["report.html"]
    facts = facts_of(page)
    assert facts["model"] == "CNN (filters=[32, 64], kernel_size=3, padding=same, head=[128])"
    assert facts["optimizer"] == "SGD (momentum=0.9, nesterov=true, weight_decay=0.0, fused=true)"
    assert facts["scheduler"] == "cosine (eta_min=0.0)"
    expected = {"learning rate": "0.05", "batch size": "512", "dropout": "0.1", "batch norm": "yes", "seed": "0"}
    expected |= {"early stopping": "patience 5 epochs, monitors val/loss", "run directory": "/outputs/a run"}
    expected |= {"started": "2025-12-31 23:59:59+01:00", "training time": "1.5 s, 2 epochs"}
    assert {name: facts[name] for name in expected} == expected
    assert "horizontal flip" in facts["augmentation"]
    assert f"<code>{html.escape(command).replace('&#x27;', '&#39;')}</code>" in page


def test_hyperparameters_are_those_of_any_model():
    config = config_of("model=ann", "~callbacks.early_stopping", "trainer.accumulate_grad_batches=4")
    config.model = {"_target_": "my_models.OneLayer", "width": 16}
    found = describe_hyperparameters(config)
    assert found["model"] == "OneLayer (width=16)"
    assert found["scheduler"] == "none: a constant learning rate"
    assert found["early stopping"] == "none"
    assert found["batch size"] == "512, gradients of 4 batches per step"
    assert "dropout" not in found


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (48.3, "48 s"), (400, "6 min 40 s"), (7500, "2 h 5 min")]
)
def test_durations_are_readable(seconds, text):
    assert format_seconds(seconds) == text


def test_the_page_shows_each_mistake_with_its_most_probable_classes(files, predictions):
    logits, labels = predictions
    page, probabilities = files["report.html"], logits.softmax(1)
    shown = re.findall(r'<img src="data:image/png;base64,(.*?)".*? alt="Test image (\d+), labelled (.*?), ', page)
    assert len(shown) == 24
    for image, index, name in shown:
        assert Image.open(io.BytesIO(base64.b64decode(image))).size == (28, 28)
        assert name == NAMES[labels[int(index)]]
    assert page.count('alt="Its saliency map"') == 24
    first = page.partition(f'alt="Test image {shown[0][1]},')[2].partition("</ol>")[0]
    top = probabilities[int(shown[0][1])].topk(3)
    for label, probability in zip(top.indices, top.values, strict=True):
        assert re.search(rf"{NAMES[label]}( ✓)? <b>{100 * probability:.1f} %</b>", first)


def test_tables_and_images_are_described_for_screen_readers(files):
    page = files["report.html"]
    assert page.count("<h1>") == 1
    assert [th for th in re.findall(r"<th\b[^>]*>", page) if "scope=" not in th] == []
    assert [img for img in re.findall(r"<img\b[^>]*>", page) if "alt=" not in img] == []
    sections = re.findall(r'<section [^>]*aria-labelledby="(\w+)"', page)
    assert len(sections) == page.count("<section") == 6
    assert all(f'<h2 id="{name}">' in page for name in sections)
    assert "Accuracy by epoch: training 0.7000 in epoch 1, 0.7000 in epoch 2;" in page
    assert "Reliability diagram: mean confidence 0." in page


def test_report_names_synthetic_images_interruptions_and_failures(files, predictions):
    assert "NOT Fashion-MNIST" not in files["report.html"]
    assert "interrupted" not in files["report.html"]
    note = "drawn garments, NOT Fashion-MNIST"
    told = make_report(predictions, data="synthetic", data_note=note, status="interrupted")["report.html"]
    assert note in told
    assert "interrupted after epoch 2" in told
    assert "ANN on Fashion-MNIST" not in told
    failed = make_report(predictions, status="failed", error="the loss is not finite")["report.html"]
    assert "The run failed (the loss is not finite)" in failed


def test_report_escapes_untrusted_text(predictions):
    entries = dict.fromkeys(
        ("error", "partial", "data_note", "started", "device", "git_commit", "data_sha256"), HOSTILE
    )
    entries |= {"overrides": [HOSTILE], "versions": {HOSTILE: HOSTILE}, "seed": HOSTILE, "status": "failed"}
    entries["resumed"] = [dict.fromkeys(("started", "after_epoch", "device", "git_commit"), HOSTILE)]
    page = make_report(predictions, folder=HOSTILE, command=HOSTILE, **entries)["report.html"]
    assert "<script>" not in page
    assert page.count(html.escape(HOSTILE)) > 12


def test_summary_of_an_older_version_or_with_damaged_entries_is_reported(predictions):
    old = {"started": None, "versions": None, "git_dirty": None, "resumed": [{}, {"device": [1]}]}
    page = make_report(predictions, command=None, **old)["report.html"]
    assert facts_of(page)["started"] == "not recorded"
    assert "do not compose its configuration" in page


def test_a_run_without_a_single_mistake_is_reported_too():
    labels = torch.arange(300) % 10
    page = make_report((torch.eye(10)[labels] * 20, labels))["report.html"]
    assert page.count("Every test image was classified correctly.") == 2


def test_a_single_epoch_has_an_axis_with_possible_values():
    accuracy, loss = measure_axis([0.995, 0.9], "accuracy"), measure_axis([0.01], "loss")
    assert (accuracy.low, accuracy.high) == (pytest.approx(0.85), 1)
    assert loss.low == 0
    assert epoch_axis([1.0]) == (0.5, 1.5, [1.0])
    assert "report.html" in make_report(make_predictions(), epochs=[{"epoch": 1.0, **EPOCH}])
