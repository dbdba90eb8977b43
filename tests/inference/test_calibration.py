import json
import math
import shutil

import pytest
import torch

from fmnist_lightning.evaluation.scores import calibration_error
from fmnist_lightning.inference import load_run
from fmnist_lightning.inference.calibration import HIGHEST, LOWEST, cross_fitted, fit_temperature
from fmnist_lightning.inference.outliers import threshold
from fmnist_lightning.inference.run_calibration import read_calibration
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train


@pytest.fixture
def run(runs):
    return runs[0]


def drawn(temperature, num=20_000):
    """Logits and labels of a model whose logits are too large by this factor."""
    torch.manual_seed(0)
    logits = 2 * torch.randn(num, 10)
    labels = torch.distributions.Categorical(logits=logits).sample()
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_of_a_known_model_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.03)


def test_temperature_has_the_lowest_cross_entropy():
    logits, labels = drawn(1.7, num=500)
    best = fit_temperature(logits, labels)
    losses = [
        torch.nn.functional.cross_entropy(logits.double() / t, labels).item() for t in (best / 1.01, best, best * 1.01)
    ]
    assert losses[1] == min(losses)


def test_temperature_is_bounded_where_no_finite_one_is_best():
    labels = torch.arange(10)
    always_right = 5 * torch.eye(10)
    assert fit_temperature(always_right, labels) == pytest.approx(LOWEST)
    assert fit_temperature(-always_right, labels) == pytest.approx(HIGHEST)


def test_cross_fitted_logits_are_calibrated_and_keep_the_predictions():
    logits, labels = drawn(3.0)
    scaled = cross_fitted(logits, labels)
    assert torch.equal(scaled.argmax(dim=1), logits.argmax(dim=1))
    assert calibration_error(scaled, labels) < 0.02 < 0.2 < calibration_error(logits, labels)


def test_summary_has_the_calibration_of_the_validation_images(run, tiny):
    stored = run.read_summary()["calibration"]
    predictor = load_run(run.folder, accelerator="cpu")
    logits, labels = predictor.logits(tiny.images["val"]), tiny.labels["val"]
    assert stored["temperature"] == pytest.approx(fit_temperature(logits, labels), abs=1e-6)
    assert stored["calibration_error_before"] == calibration_error(logits, labels)
    assert stored["calibration_error_after"] == calibration_error(cross_fitted(logits, labels), labels)
    flagged = predictor.classify(tiny.images["val"]).is_outlier
    assert flagged.float().mean().item() == pytest.approx(0.05, abs=0.01)


def without_calibration(run, folder, **changes):
    """A copy of a run as earlier versions made them."""
    copy = Run(shutil.copytree(run.folder, folder))
    summary = {key: value for key, value in run.read_summary().items() if key != "calibration"}
    copy.summary_json.write_text(json.dumps(summary | changes))
    return copy


def test_run_without_a_stored_calibration_is_calibrated_on_its_validation_images(run, tmp_path, data_root):
    copy = without_calibration(run, tmp_path / "run")
    calibration = load_run(copy.folder, accelerator="cpu").calibration
    stored = run.read_summary()["calibration"]
    assert calibration._asdict() == {name: stored[name] for name in calibration._fields}
    assert "calibration" not in copy.read_summary()


def test_run_whose_images_are_missing_or_others_is_a_one_line_error(run, tmp_path):
    copy = without_calibration(run, tmp_path / "run")
    with pytest.raises(ValueError, match=r"^run=\S+: has no calibration .* not on disk; set data\.root=DIR$"):
        load_run(copy.folder, accelerator="cpu", data_root=str(tmp_path))
    other = without_calibration(run, tmp_path / "other", split_sha256="0" * 64)
    with pytest.raises(ValueError, match="split_sha256 differs"):
        load_run(other.folder, accelerator="cpu")


@pytest.mark.parametrize(
    "damage",
    [
        {"temperature": 0},
        {"temperature": True},
        {"temperature": 10**400},
        {"outlier_threshold": "x"},
        {"outlier_threshold": None},
        {"calibration_error_after": []},
    ],
)
def test_damaged_calibration_is_rejected(damage, run, tmp_path):
    for damaged in (run.read_summary()["calibration"] | damage, [], {}):
        copy = without_calibration(run, tmp_path / "run", calibration=damaged)
        with pytest.raises(ValueError, match=r"summary\.json: damaged, calibration must be"):
            load_run(copy.folder, accelerator="cpu")
        shutil.rmtree(copy.folder)


def test_resumed_run_is_calibrated_again(run, composed, tmp_path):
    copy = Run(shutil.copytree(run.folder, tmp_path / "run"))
    before = copy.read_summary()["calibration"]
    cfg = composed("model=ann", "model.hidden=[16]", "logger=none", "trainer.max_epochs=4")
    summary = train(cfg, copy.folder, resume=True)
    assert summary["calibration"] != before
    assert math.isfinite(summary["calibration"]["outlier_threshold"])


def test_threshold_of_a_run_for_photos_is_that_of_images_like_photos(composed, tmp_path, tiny):
    run = Run(tmp_path / "run")
    train(composed("model=ann", "model.hidden=[16]", "logger=none", "data.augment=photos"), run.folder)
    predictor = load_run(run.folder, accelerator="cpu")
    unchanged = threshold(predictor.classify(tiny.images["val"]).outlier_scores, 0.85)
    assert predictor.calibration.outlier_threshold != pytest.approx(unchanged, abs=1e-4)
    copy = without_calibration(run, tmp_path / "copy")
    state = torch.random.get_rng_state()
    assert read_calibration(copy, copy.read_config(), predictor) == predictor.calibration
    assert torch.equal(torch.random.get_rng_state(), state)
