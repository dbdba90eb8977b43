"""A real TensorBoard on a sweep of both models: what its HTTP interface answers, and what a browser shows."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation import hparams
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep_folder import varied_keys
from fmnist_lightning.training.run import train

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RUNS = ["0_ann_lr0.003_seed0", "1_cnn_lr0.003_seed0", "2_ann_lr1e+30_seed0", "3_cnn_lr1e+30_seed0"]
SCORED, FAILED = RUNS[:2], RUNS[2:]
CURVES = ("train/loss", "val/loss", "train/accuracy", "val/accuracy")
METRICS = [
    "whole_run/best/monitored",
    "whole_run/best/val_loss",
    "whole_run/best/val_accuracy",
    "whole_run/test/accuracy",
    "whole_run/test/macro_f1",
    "whole_run/test/loss",
    "whole_run/epochs",
    "whole_run/fit_seconds",
]


@pytest.fixture(scope="module")
def sweep(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs that are completed, one of each model, and two that fail."""
    folder = tmp_path_factory.mktemp("tensorboard")
    garments = ["data=synthetic", "data.num_train=400", "data.num_test=100", f"data.root={data_root}"]
    small = ["data.batch_size=64", "trainer.max_epochs=2", "trainer.accelerator=cpu", "model.dropout=0.1"]
    grid = ["optimizer.lr=0.003,1e30", "model=ann,cnn", "callbacks.epoch_metrics.histograms=true"]
    answer = subprocess.run(
        [sys.executable, "-m", "fmnist_lightning", "-m", *garments, *small, *grid, "hydra.sweep.dir=sweep"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert answer.returncode == 1
    # two jobs fail, for their loss and not for their histograms
    assert answer.stderr.count("failed: optimizer.lr=1e+30: the loss is ") == 2
    return folder / "sweep"


@pytest.fixture(scope="module")
def address(sweep: Path) -> Iterator[str]:
    """Of a TensorBoard that shows the sweep."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep), "--port", "0", "--load_fast=false"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "http://" in line)
            found = re.search(r"http://\S+?:\d+", line)
            assert found is not None
            yield found.group()
        finally:
            process.kill()


def ask(address: str, path: str, question: dict[str, Any] | None = None) -> Any:
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(f"{address}/data/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_each_run_directory_is_one_run(address):
    assert sorted(ask(address, "runs")) == RUNS


def test_hparams_has_a_row_per_run_with_all_columns(address):
    table = ask(address, "plugin/hparams/experiment", {"experimentName": ""})
    types = {column["name"]: column["type"] for column in table["hparamInfos"]}
    assert list(types)[:3] == ["model", "optimizer.lr", "seed"]  # TensorBoard shows the first five
    assert types["model"] == types["layers"] == types["model.batch_norm"] == "DATA_TYPE_STRING"
    for number in ("optimizer.lr", "seed", "model.dropout", "data.batch_size"):
        assert types[number] == "DATA_TYPE_FLOAT64"
    assert [metric["name"]["tag"] for metric in table["metricInfos"]] == METRICS
    question = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_RUNNING", "STATUS_UNKNOWN", "STATUS_FAILURE"],
        "colParams": [{"metric": {"group": "", "tag": tag}} for tag in METRICS],
        "startIndex": 0,
        "sliceSize": 100,
    }
    groups = {
        group["name"]: group for group in ask(address, "plugin/hparams/session_groups", question)["sessionGroups"]
    }
    assert sorted(groups) == RUNS
    for name, group in groups.items():
        assert set(group["hparams"]) == set(types)
        assert group["hparams"]["model"] == name.split("_")[1]
        assert len(group["sessions"]) == 1
    for name in SCORED:
        assert groups[name]["sessions"][0]["status"] == "STATUS_SUCCESS"
        assert [value["name"]["tag"] for value in groups[name]["metricValues"]] == METRICS
    for name in FAILED:
        assert groups[name]["sessions"][0]["status"] == "STATUS_FAILURE"


def test_columns_include_the_keys_that_vary_in_a_sweep(sweep, composed):
    assert varied_keys(sweep) == ["optimizer.lr", "model"]
    assert varied_keys(sweep / RUNS[0]) == []
    cfg, summary = composed("model=ann"), {"model": "ann", "data": "synthetic", "precision": "32-true"}
    columns = hparams.columns(cfg, summary)
    keys = ["seed", "model.hidden", "optimizer.fused", "optimizer.eps", "trainer", "trainer.gradient_clip_val"]
    added = hparams.columns(cfg, summary, keys)
    assert list(added)[: len(columns)] == list(columns)
    assert added == columns | {"model.hidden": "[128, 64]", "optimizer.fused": "true", "optimizer.eps": 1e-8}


def test_columns_of_a_trial_begin_with_the_keys_of_its_search(composed, tmp_path):
    keys = ["model.dropout", "model.hidden", "optimizer.weight_decay", "data.batch_size", "optimizer.lr"]
    train(composed("model=ann", "trainer.max_epochs=1"), tmp_path, varied=keys)
    plugin_data = EventAccumulator(str(tmp_path)).Reload().SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data
    infos = metadata.parse_experiment_plugin_data(plugin_data.content).hparam_infos
    assert sorted(info.name for info in infos if info.differs) == sorted(keys)


def test_hparams_metrics_are_those_of_the_summary(address, sweep):
    for name in SCORED:
        summary = Run(sweep / name).read_summary()
        values = {
            "best/monitored": summary["monitored"]["value"],
            "best/val_loss": summary["val"]["loss"],
            "best/val_accuracy": summary["val"]["accuracy"],
            "test/accuracy": summary["test"]["accuracy"],
            "test/macro_f1": summary["test"]["macro"]["f1"],
            "test/loss": summary["test"]["loss"],
            "epochs": summary["epochs"],
        }
        for tag, value in values.items():
            ((_, step, shown),) = ask(address, f"plugin/scalars/scalars?run={name}&tag=whole_run/{tag}")
            assert shown == pytest.approx(value, abs=1e-5)
            assert step == summary["best_epoch"]


def test_training_and_validation_are_the_first_groups_of_tags(address):
    """The two that TensorBoard expands; it sorts scalars, images and histograms together."""
    for name in SCORED:
        tags = [
            tag for plugin in ("scalars", "images", "histograms") for tag in ask(address, f"plugin/{plugin}/tags")[name]
        ]
        assert sorted({tag.partition("/")[0] for tag in tags}) == ["train", "val", "weights", "whole_run"]


def test_scalars_have_one_step_per_epoch_and_equal_metrics_csv(address, sweep):
    tags = ask(address, "plugin/scalars/tags")
    for name in SCORED:
        assert set(tags[name]) == {*METRICS, "train/gradient_norm", "train/lr", *CURVES}
        rows = Run(sweep / name).read_metrics()
        for tag in (*CURVES, "train/lr"):
            shown = ask(address, f"plugin/scalars/scalars?run={name}&tag={tag}")
            assert [step for _, step, _ in shown] == [1, 2]
            column = "lr" if tag == "train/lr" else tag
            assert [value for *_, value in shown] == pytest.approx([row[column] for row in rows], rel=1e-5)


def test_custom_scalars_show_training_and_validation_in_one_chart(address):
    (category,) = ask(address, "plugin/custom_scalars/layout")["category"]
    assert [chart["multiline"]["tag"] for chart in category["chart"]] == [
        ["train/loss", "val/loss"],
        ["train/accuracy", "val/accuracy"],
    ]


def test_images_pr_curves_texts_graph_and_histograms_exist(address):
    for plugin, tags in {
        "images": {"whole_run/confusion_matrix", "whole_run/mistakes"},
        "text": {"config/text_summary", "report/text_summary", "provenance/text_summary"},
        "histograms": {"weights/network.1.weight"},
    }.items():
        known = ask(address, f"plugin/{plugin}/tags")
        assert tags <= set(known[SCORED[0]]), plugin
    assert set(SCORED) <= set(ask(address, "plugin/graphs/info"))


def test_pr_curves_are_of_each_class_and_their_macro_average(address):
    for name in SCORED:
        (macro, *classes) = sorted(ask(address, "plugin/pr_curves/tags")[name])
        assert macro == "precision_recall/All classes (macro average)"
        assert classes == sorted(f"precision_recall/{name}" for name in FashionMNISTData.class_names)
        curves = [
            ask(address, f"plugin/pr_curves/pr_curves?run={name}&tag={quote(tag)}")[name][0]
            for tag in (macro, *classes)
        ]
        for measure in ("recall", "precision"):  # at threshold 0, where everything is predicted as every class
            first = [curve[measure][0] for curve in curves]
            assert first[0] == pytest.approx(np.mean(first[1:]))
        assert curves[0]["true_positives"][0] == 100


def test_config_and_hparams_yaml_are_complete_and_resolved(address, sweep):
    for name in SCORED:
        ((_, _, text),) = [
            (event["wall_time"], event["step"], event["text"])
            for event in ask(address, f"plugin/text/text?run={name}&tag=config/text_summary")
        ]
        assert "lr: 0.003" in text
        assert "${" not in text
        config = yaml.safe_load((sweep / name / ".hydra" / "config.yaml").read_text())
        assert yaml.safe_load((sweep / name / "hparams.yaml").read_text()) == config


def test_projector_has_features_metadata_and_sprites(address, sweep):
    for name, width in zip(SCORED, (64, 128), strict=True):
        info = ask(address, f"plugin/projector/info?run={name}")
        (embedding,) = info["embeddings"]
        assert embedding["tensorName"] == "test images (last hidden layer)"
        assert embedding["tensorShape"] == [100, width]
        assert embedding["sprite"]["singleImageDim"] == [28, 28]
        header, *lines = (sweep / name / embedding["metadataPath"]).read_text().splitlines()
        assert header.split("\t") == ["true class", "predicted class", "result", "index"]
        rows = [line.split("\t") for line in lines]
        labels, probabilities = Run(sweep / name).read_predictions()
        names = FashionMNISTData.class_names
        assert [row[0] for row in rows] == [names[label] for label in labels]
        assert [row[1] for row in rows] == [names[label] for label in probabilities.argmax(1)]
        sprite = np.asarray(Image.open(sweep / name / embedding["sprite"]["imagePath"]))
        assert sprite.shape == (280, 280, 4)
        for index, (true, predicted, result, _) in enumerate(rows):
            assert result == ("correct" if true == predicted else "incorrect")
            row, column = divmod(index, 10)
            tile = sprite[28 * row : 28 * (row + 1), 28 * column : 28 * (column + 1)]
            assert (tile[0, :, :] == (209, 36, 47, 255)).all() == (result == "incorrect")  # the frame


def test_event_files_stay_small(sweep):
    for name in RUNS:
        assert sum(path.stat().st_size for path in (sweep / name).glob("events.out.tfevents.*")) < 10e6


@pytest.fixture(scope="module")
def page(browser: "Browser") -> "Page":
    """A page of a headless Chromium."""
    return browser.new_page(viewport={"width": 1400, "height": 1000})


@pytest.fixture
def look(page: "Page", tmp_path: Path) -> Iterator["Page"]:
    """The page, of which a screenshot is kept; it must not report an error."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{len(list(folder.iterdir()))}.png", full_page=True)
    assert errors == []


@pytest.mark.browser
def test_hparams_page_shows_both_models(address, look):
    look.goto(f"{address}/#hparams")
    look.get_by_text("TABLE VIEW").wait_for(timeout=60_000)
    table = look.locator("tf-hparams-table-view")
    for shown in ("ann", "cnn", "model", "optimizer.lr", "seed", "best/val_loss", *RUNS):
        table.get_by_text(shown, exact=True).first.wait_for(timeout=30_000)


@pytest.mark.browser
def test_training_and_validation_are_expanded_and_the_rest_is_collapsed(address, look):
    look.goto(f"{address}/#timeseries")
    look.locator("card-view").first.wait_for(timeout=60_000)
    groups = look.locator("metrics-card-groups metrics-card-group-toolbar, metrics-card-groups .group-title-wrapper")
    groups.get_by_text("whole_run").first.wait_for(timeout=30_000)
    titles = look.locator("card-view").evaluate_all("cards => cards.map(card => card.innerText.split('\\n')[0])")
    assert {title.partition("/")[0] for title in titles} == {"train", "val"}


@pytest.mark.browser
def test_scalar_charts_are_drawn(address, look):
    look.goto(f"{address}/#custom_scalars")
    look.get_by_text("training and validation").first.wait_for(timeout=60_000)
    for chart in range(2):  # loss and accuracy: a line for training and one for validation of each run
        lines = look.locator("tf-custom-scalar-multi-line-chart-card").nth(chart).locator("vz-line-chart2 path")
        lines.nth(2 * len(SCORED) - 1).wait_for(timeout=30_000, state="attached")


@pytest.mark.browser
def test_sweep_figure_is_a_png(sweep, look):
    look.goto((sweep / "sweep.png").as_uri())
    assert look.locator("img").evaluate("image => image.naturalWidth") > 800
