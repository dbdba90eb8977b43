"""Runs that continue completed ones are bit-for-bit those that are trained from scratch."""

from pathlib import Path
from typing import Any

import pytest

from fmnist_lightning.execution.manifest import verify_manifest
from fmnist_lightning.execution.worker import train_and_measure
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.checkpoints import score_checkpoints

pytestmark = pytest.mark.slow
PATIENCE = "callbacks.early_stopping.patience"


def read(run: Run) -> dict[str, Any]:
    """Everything that the study uses, except for seconds."""
    summary = run.read_summary()
    measured = (run.folder / "measurements.json").read_text().partition('"seconds"')[0]
    scores = {key: summary[key] for key in ("epochs", "best_epoch", "val", "test", "calibration")}
    return {**scores, "measured": measured, "files": [run.metrics_csv.read_text(), run.predictions_csv.read_bytes()]}


@pytest.mark.parametrize("model", [["model=ann", "model.hidden=[16]"], ["model=cnn", "model.filters=[2]"]])
def test_continued_run_is_bit_identical_to_one_from_scratch(tiny_overrides, tmp_path: Path, model):
    def train(name: str, epochs: int, patience: int, base: str = "") -> dict[str, Any]:
        overrides = [*tiny_overrides, *model, f"trainer.max_epochs={epochs}", f"{PATIENCE}={patience}"]
        overrides += ["optimizer.lr=0.03"]  # soon too high: early stopping ends the run
        train_and_measure(overrides, tmp_path / name, score_checkpoints, tmp_path / base if base else None)
        verify_manifest(Run(tmp_path / name))
        return read(Run(tmp_path / name))

    recipe = train("recipe", 4, 1)
    assert train("ablation", 4, 4, "recipe") == train("ablation_scratch", 4, 4)
    stopped = train("stopped", 20, 1, "recipe")
    assert stopped == train("stopped_scratch", 20, 1)
    assert stopped["epochs"] < 20
    assert train("long", 20, 20, "stopped") == train("long_scratch", 20, 20)
    assert read(Run(tmp_path / "recipe")) == recipe  # bases stay as they are
    verify_manifest(Run(tmp_path / "recipe"))
