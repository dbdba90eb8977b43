import shutil

import pytest
import torch

from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.training_length import explain_end
from fmnist_lightning.training.run import train

# stops when the loss first rises, in an epoch between the second and the last
ANN = ["model=ann", "model.hidden=[16]", "optimizer.lr=0.3", "logger=none"]


@pytest.fixture(scope="module")
def stopped(composed, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("stopped"))
    train(composed(*ANN, "trainer.max_epochs=12", "callbacks.early_stopping.patience=1"), run.folder, [])
    assert run.read_summary()["epochs"] < 12
    return run


def test_a_higher_patience_resumes_a_run_that_early_stopping_ended(stopped, composed, tmp_path):
    longer = ["callbacks.early_stopping.patience=4", "trainer.max_epochs=14"]
    run, uninterrupted = Run(tmp_path / "run"), Run(tmp_path / "uninterrupted")
    shutil.copytree(stopped.folder, run.folder)
    summary = train(config_to_resume(run, longer), run.folder, longer, resume=True)
    train(composed(*ANN, *longer), uninterrupted.folder, [])
    assert summary["epochs"] > stopped.read_summary()["epochs"]
    assert run.metrics_csv.read_bytes() == uninterrupted.metrics_csv.read_bytes()
    assert run.predictions_csv.read_bytes() == uninterrupted.predictions_csv.read_bytes()
    one, other = (torch.load(r.last_checkpoint, weights_only=True) for r in (run, uninterrupted))
    assert all(torch.equal(one["state_dict"][key], value) for key, value in other["state_dict"].items())
    assert run.read_config().callbacks.early_stopping.patience == 4


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.max_epochs=40"],
        ["callbacks.early_stopping.patience=1"],
        ["trainer.max_epochs=40", "callbacks.early_stopping.patience=1"],
    ],
)
def test_overrides_without_effect_on_an_early_stopped_run_are_rejected(overrides, stopped):
    epochs = stopped.read_summary()["epochs"]
    with pytest.raises(ValueError, match="no effect") as error:
        config_to_resume(stopped, overrides)
    assert overrides[0] in str(error.value)
    hint = f"early stopping ended it after epoch {epochs}; callbacks.early_stopping.patience=N, above 1, resumes it"
    assert hint in str(error.value)
    assert explain_end(stopped, stopped.read_config()) == hint


def test_a_run_that_trained_all_epochs_trains_longer_with_more_epochs_only(composed, tmp_path):
    run = Run(tmp_path)
    train(composed("model=ann", "model.hidden=[16]", "logger=none"), run.folder, [])
    assert explain_end(run, run.read_config()) == "all 2 epochs are done; trainer.max_epochs=N, above 2, trains longer"
    with pytest.raises(ValueError, match=r"patience=9: no effect .* trainer\.max_epochs=N, above 2"):
        config_to_resume(run, ["callbacks.early_stopping.patience=9"])
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=1: must be at least 2"):
        config_to_resume(run, ["trainer.max_epochs=1"])
    assert config_to_resume(run, ["trainer.max_epochs=3"]).trainer.max_epochs == 3


def test_patience_of_a_run_without_early_stopping_is_rejected(composed, tmp_path):
    run = Run(tmp_path)
    train(composed(*ANN, "~callbacks.early_stopping", "trainer.max_epochs=1"), run.folder, [])
    with pytest.raises(ValueError, match="patience=9: the run has no early stopping"):
        config_to_resume(run, ["callbacks.early_stopping.patience=9", "trainer.max_epochs=2"])
