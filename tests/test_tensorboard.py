"""A real TensorBoard on a sweep of both models: what its HTTP interface answers, and what a browser shows."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmnist_lightning.runs.run import Run

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUNS = ["0_ann_lr0.003_seed0", "1_cnn_lr0.003_seed0", "2_ann_lr1e+30_seed0", "3_cnn_lr1e+30_seed0"]
SCORED = RUNS[:2]
METRICS = [
    "best/monitored",
    "best/val_loss",
    "best/val_accuracy",
    "test/accuracy",
    "test/macro_f1",
    "epochs",
    "fit_seconds",
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
    assert answer.stderr.count("error: optimizer.lr=1e+30: the loss is ") == 2
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


def test_each_folder_is_one_run_with_a_readable_name(address):
    assert sorted(ask(address, "runs")) == RUNS


def test_the_hparams_table_has_a_row_for_each_run_with_all_columns(address):
    table = ask(address, "plugin/hparams/experiment", {"experimentName": ""})
    types = {column["name"]: column["type"] for column in table["hparamInfos"]}
    assert types["model"] == types["layers"] == types["batch_norm"] == "DATA_TYPE_STRING"
    assert types["lr"] == types["seed"] == types["dropout"] == types["batch_size"] == "DATA_TYPE_FLOAT64"
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


def test_the_hparams_metrics_are_those_of_the_summary(address, sweep):
    for name in SCORED:
        summary = Run(sweep / name).read_summary()
        values = {
            "best/monitored": summary["monitored"]["value"],
            "best/val_loss": summary["val"]["loss"],
            "best/val_accuracy": summary["val"]["accuracy"],
            "test/accuracy": summary["test"]["accuracy"],
            "test/macro_f1": summary["test"]["macro"]["f1"],
            "epochs": summary["epochs"],
        }
        for tag, value in values.items():
            ((_, step, shown),) = ask(address, f"plugin/scalars/scalars?run={name}&tag={tag}")
            assert shown == pytest.approx(value, abs=1e-5)
            assert step == summary["best_epoch"]


def test_scalars_go_by_epoch_each_once_and_equal_metrics_csv(address, sweep):
    tags = ask(address, "plugin/scalars/tags")
    for name in SCORED:
        assert "hp_metric" not in tags[name]
        assert {"gradient_norm", "lr"} <= set(tags[name])
        rows = Run(sweep / name).read_metrics()
        for tag in ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "lr"):
            shown = ask(address, f"plugin/scalars/scalars?run={name}&tag={tag}")
            assert [step for _, step, _ in shown] == [1, 2]
            assert [value for *_, value in shown] == pytest.approx([row[tag] for row in rows], rel=1e-5)


def test_training_and_validation_share_a_chart(address):
    (category,) = ask(address, "plugin/custom_scalars/layout")["category"]
    assert [chart["multiline"]["tag"] for chart in category["chart"]] == [
        ["train/loss", "val/loss"],
        ["train/accuracy", "val/accuracy"],
    ]


def test_pictures_curves_texts_graph_and_histograms_are_there(address):
    for plugin, tags in {
        "images": {"test/confusion_matrix", "test/mistakes"},
        "text": {"config/text_summary", "report/text_summary", "provenance/text_summary"},
        "histograms": {"network.1.weight"},
    }.items():
        known = ask(address, f"plugin/{plugin}/tags")
        assert tags <= set(known[SCORED[0]]), plugin
    curves = ask(address, "plugin/pr_curves/tags")
    assert all(len(curves[name]) == 10 for name in SCORED)
    assert set(SCORED) <= set(ask(address, "plugin/graphs/info"))


def test_the_projector_has_the_features_with_classes_and_pictures(address, sweep):
    for name, width in zip(SCORED, (64, 128), strict=True):
        info = ask(address, f"plugin/projector/info?run={name}")
        (embedding,) = info["embeddings"]
        assert embedding["tensorShape"] == [100, width]
        assert embedding["sprite"]["singleImageDim"] == [28, 28]
        metadata = (sweep / name / embedding["metadataPath"]).read_text().split("\n")
        assert {"Sandal", "Ankle boot"} <= set(metadata)


def test_event_files_stay_small(sweep):
    for name in RUNS:
        assert sum(path.stat().st_size for path in (sweep / name).glob("events.out.tfevents.*")) < 10e6


@pytest.fixture(scope="module")
def page() -> "Iterator[Page]":
    """A page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


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
def test_the_hparams_table_shows_both_models(address, look):
    look.goto(f"{address}/#hparams")
    look.get_by_text("TABLE VIEW").wait_for(timeout=60_000)
    table = look.locator("tf-hparams-table-view")
    for column in ("model", "lr"):  # TensorBoard shows the first five by name until asked for others
        look.locator("tf-hparams-query-pane").get_by_role("checkbox", name=column, exact=True).click()
    for shown in ("ann", "cnn", "model", "lr", "dropout", "best/val_loss", *RUNS):
        table.get_by_text(shown, exact=True).first.wait_for(timeout=30_000)


@pytest.mark.browser
def test_the_charts_are_drawn(address, look):
    look.goto(f"{address}/#custom_scalars")
    look.get_by_text("training and validation").first.wait_for(timeout=60_000)
    for chart in range(2):  # loss and accuracy: a line for training and one for validation of each run
        lines = look.locator("tf-custom-scalar-multi-line-chart-card").nth(chart).locator("vz-line-chart2 path")
        lines.nth(2 * len(SCORED) - 1).wait_for(timeout=30_000, state="attached")


@pytest.mark.browser
def test_a_sweeps_picture_opens(sweep, look):
    look.goto((sweep / "sweep.png").as_uri())
    assert look.locator("img").evaluate("image => image.naturalWidth") > 800
