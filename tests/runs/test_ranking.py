"""How a sweep ranks its jobs, and jobs that cannot be compared: other images, other metrics, partial runs."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fmnist_lightning.evaluation.sweep_page import sweep_files
from fmnist_lightning.runs.sweep import Sweep

NOTE = "synthetic images, NOT Fashion-MNIST"


def job(loss: float, accuracy: float = 0.8, **changes: Any) -> dict[str, Any]:
    """A summary as a completed run writes it."""
    summary = {
        "status": "completed",
        "overrides": [f"optimizer.lr={loss}"],
        "data": "fashion_mnist",
        "data_note": None,
        "data_sha256": "aa",
        "split_sha256": "bb",
        "precision": "32-true",
        "val": {"loss": loss, "accuracy": accuracy},
        "test": {"loss": 0.7, "accuracy": 0.7},
    }
    return summary | changes


def by_accuracy(accuracy: float) -> dict[str, Any]:
    return {"monitored": {"metric": "val/accuracy", "mode": "max", "value": accuracy}}


def shown(folder: Path, capsys: pytest.CaptureFixture[str], *jobs: dict[str, Any]) -> tuple[str, list[str], str]:
    """Terminal output, jobs in the order of the table, and sweep.md of a sweep."""
    for number, summary in enumerate(jobs):
        (folder / str(number)).mkdir()
        (folder / str(number) / "summary.json").write_text(json.dumps(summary))
    Sweep(folder).update(sweep_files)
    Sweep(folder).show()
    with (folder / "sweep.csv").open(newline="") as file:
        table = [row["job"] for row in csv.DictReader(file)]
    return capsys.readouterr().out, table, (folder / "sweep.md").read_text()


def column(folder: Path, name: str) -> list[str]:
    with (folder / "sweep.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def test_jobs_are_ordered_by_the_metric_that_they_monitored(tmp_path, capsys):
    jobs = [job(0.3, 0.7, **by_accuracy(0.7)), job(0.5, 0.9, **by_accuracy(0.9)), job(0.4, 0.8, **by_accuracy(0.8))]
    output, table, markdown = shown(tmp_path, capsys, *jobs)
    assert table == ["1", "2", "0"]
    assert "best by validation accuracy: python -m fmnist_lightning optimizer.lr=0.5" in output
    assert "Sweep, by validation accuracy" in output
    assert "Ordered by validation accuracy" in markdown
    assert "| best | 1 |" in markdown
    assert column(tmp_path, "monitored") == ["val/accuracy"] * 3
    assert column(tmp_path, "monitored_value") == ["0.9", "0.8", "0.7"]


def test_summary_without_a_monitored_metric_is_ordered_by_validation_loss(tmp_path, capsys):
    output, table, _ = shown(tmp_path, capsys, job(0.3), job(0.2), job(0.1, status="interrupted"))
    assert table == ["2", "1", "0"]
    assert "best by validation loss: python -m fmnist_lightning optimizer.lr=0.2" in output
    assert "***" not in output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_sha256": "cc"}, "different images or validation splits"),
        ({"split_sha256": "cc"}, "different images or validation splits"),  # of an older version
        ({"val_sha256": "cc"}, "different images or validation splits"),
        (by_accuracy(0.9), "different metrics (validation accuracy, validation loss)"),
    ],
)
def test_jobs_that_cannot_be_compared_have_a_warning_and_no_best(changes, words, tmp_path, capsys):
    output, _, markdown = shown(tmp_path, capsys, job(0.3), job(0.1, **changes))
    assert "best by" not in output
    assert "| best |" not in markdown
    for text in (output, markdown, *column(tmp_path, "warnings")):
        assert words in text


def test_runs_on_shares_of_one_training_split_are_compared(tmp_path, capsys):
    shares = [job(loss, split_sha256=split, val_sha256="vv") for loss, split in ((0.3, "aa"), (0.1, "bb"))]
    output, _, _ = shown(tmp_path, capsys, *shares)
    assert "best by validation loss: python -m fmnist_lightning optimizer.lr=0.1" in output


def test_partial_run_is_labelled_and_never_best(tmp_path, capsys):
    partial = job(0.1, partial="trainer.limit_train_batches=2", data_sha256="cc")
    output, table, markdown = shown(tmp_path, capsys, job(0.3), partial)
    assert table == ["0", "1"]
    assert "best by validation loss: python -m fmnist_lightning optimizer.lr=0.3" in output
    for text in (output, markdown):
        assert "job 1 is a partial run (trainer.limit_train_batches=2): not comparable" in text
    assert column(tmp_path, "partial") == ["", "trainer.limit_train_batches=2"]


def test_job_without_scores_is_never_best(tmp_path, capsys):
    without = job(0.1)
    del without["val"], without["test"]
    output, table, _ = shown(tmp_path, capsys, without, job(0.3, status="failed"))
    assert table == ["1", "0"]
    assert "best by" not in output


def test_synthetic_images_are_named_in_every_output(tmp_path, capsys):
    def size(folder: Path) -> tuple[int, int]:
        return Image.open(io.BytesIO((folder / "sweep.png").read_bytes())).size

    for name, note in (("real", None), ("synthetic", NOTE)):
        folder = tmp_path / name
        folder.mkdir()
        output, _, markdown = shown(folder, capsys, job(0.3, data_note=note), job(0.2, data_note=note))
        assert (f"{NOTE}: these scores say nothing about it" in output) == (note is not None)
        assert (NOTE in markdown) == (note is not None)
        assert column(folder, "data_note") == [note or ""] * 2
    figures = [(tmp_path / name / "sweep.png").read_bytes() for name in ("real", "synthetic")]
    assert figures[0] != figures[1]
    assert size(tmp_path / "real") == size(tmp_path / "synthetic")
