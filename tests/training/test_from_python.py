"""Training from a notebook or script."""

import base64
import re

import pytest
import torch
from hydra.core.hydra_config import HydraConfig

from fmnist_lightning import compose, train
from fmnist_lightning.config.compose import compose_config
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.run import Run
from tests.conftest import TINY


@pytest.fixture(scope="module")
def overrides(data_root):
    more = ["model=ann", "model.hidden=[16]", f"data.root={data_root}", "trainer.accelerator=cpu", "logger=none"]
    return [*TINY, *more]


@pytest.fixture(scope="module")
def cfg(overrides):
    return compose(*overrides)


@pytest.fixture(scope="module")
def trained(cfg, tmp_path_factory):
    """A run in a directory that `train` chose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("from_python"))
        before = HydraConfig.instance().cfg  # other tests in this process may have set it
        trained = train(cfg)
        assert HydraConfig.instance().cfg is before
        return trained


def test_configuration_is_that_of_the_command_line(cfg, overrides):
    assert config_sha256(cfg) == config_sha256(compose_config(overrides))


def test_run_is_that_of_the_command_line(trained, overrides):
    run = Run.existing(trained.directory)
    assert run.read_summary() == trained.summary
    assert trained.summary["overrides"] == overrides
    assert "hydra" not in run.read_config()
    assert "python -m fmnist_lightning" in run.report_html.read_text()


def test_new_directory_is_chosen_at_each_call(trained, cfg, monkeypatch, capsys):
    folder = trained.directory.parent.parent
    monkeypatch.chdir(folder)
    second = train(cfg)
    for directory in (trained.directory, second.directory):
        assert re.fullmatch(r"outputs/ann_lr0\.003_seed0_[\d_-]+", str(directory.relative_to(folder)))
    assert trained.directory != second.directory
    assert capsys.readouterr().out.count("/2 ") == 2  # a line for each epoch
    with pytest.raises(ValueError, match="already contains a run; not overwritten"):
        train(cfg, second.directory)


def test_model_of_a_trained_run_predicts(trained):
    probabilities = trained.load().predict(torch.zeros(2, 28, 28, dtype=torch.uint8))
    assert probabilities.shape == (2, 10)


def test_result_is_shown_as_text_and_in_a_notebook_with_figures(trained):
    text = repr(trained)
    assert re.search(r"^ANN, completed after 2 epochs, test accuracy 0\.\d{4} at epoch \d$", text, re.MULTILINE)
    assert "*** synthetic images, NOT Fashion-MNIST ***" in text
    assert text.endswith(f"run: {trained.directory}")
    page = trained._repr_html_()
    assert "<td>Ankle boot</td>" in page
    pictures = [base64.b64decode(png) for png in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    report = Run(trained.directory).report
    assert pictures == [(report / f"{name}.png").read_bytes() for name in ("accuracy", "loss", "confusion_matrix")]


def test_run_without_scores_is_shown_without_figures(overrides, tmp_path):
    result = train(compose(*overrides, "+trainer.fast_dev_run=true"), tmp_path / "run")
    assert result.summary["status"] == "partial"
    assert "*** trainer.fast_dev_run=true ***" in repr(result)
    assert "<img" not in result._repr_html_()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modl=ann", "did you mean model=ann"),
        ("trainer.devices=2", r"^trainer\.devices=2: only on the command line"),
        ("resume=auto", r"^resume=auto: only on the command line"),
        ("hydra.mode=MULTIRUN", r"^hydra\.mode=MULTIRUN: only on the command line"),
    ],
)
def test_invalid_override_is_rejected_before_training(override, message):
    with pytest.raises(ValueError, match=message):
        compose(override)


def test_configuration_of_another_origin_is_rejected(composed):
    with pytest.raises(ValueError, match=r"^cfg: must be composed by fmnist_lightning\.compose$"):
        train(composed("model=ann"))
