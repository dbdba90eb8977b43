import pytest
import torch

from fmnist_lightning import compose, load_runs
from fmnist_lightning import train as train_from_python
from fmnist_lightning.inference import Predictor, load_run
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train
from tests.conftest import TINY


@pytest.fixture
def folders(runs):
    return [run.folder for run in runs]


def test_ensemble_averages_calibrated_probabilities(folders, tiny):
    images = tiny.images["test"]
    first, second = (load_run(folder, accelerator="cpu").classify(images) for folder in folders)
    ensemble = load_runs(folders, accelerator="cpu")
    classified = ensemble.classify(images)
    torch.testing.assert_close(classified.probabilities, (first.probabilities + second.probabilities) / 2)
    torch.testing.assert_close(classified.outlier_scores, (first.outlier_scores + second.outlier_scores) / 2)
    assert torch.equal(ensemble.predict(images), classified.probabilities)
    assert not classified.is_outlier[~(first.is_outlier | second.is_outlier)].any()
    assert [bool(reason) for reason in classified.reasons] == classified.is_outlier.tolist()
    assert ensemble.features(images).shape == (100, 32)


def test_flips_are_averaged_with_tta(folders, tiny):
    images = tiny.images["test"]
    predictor, flipped = load_run(folders[0], accelerator="cpu"), load_runs(folders[:1], tta=True, accelerator="cpu")
    expected = (predictor.predict(images) + predictor.predict(images.flip(-1))) / 2
    torch.testing.assert_close(flipped.predict(images), expected)
    torch.testing.assert_close(flipped.predict(images.flip(-1)), expected)


def test_single_run_without_tta_is_a_predictor(folders):
    assert isinstance(load_runs(folders[:1], accelerator="cpu"), Predictor)


def test_unfinished_runs_and_no_runs_are_one_line_errors(folders, composed, tmp_path):
    with pytest.raises(ValueError, match=r"^run: no run directory is given$"):
        load_runs([])
    with pytest.raises(ValueError, match=rf"^run={tmp_path}: no run, "):
        load_runs([folders[0], tmp_path])
    run = Run(tmp_path / "unfinished")
    train(composed("model=ann", "logger=none", "+trainer.fast_dev_run=true"), run.folder)
    with pytest.raises(ValueError, match=r"unfinished: has no checkpoint, no epoch was completed$"):
        load_runs([folders[0], run.folder])


def test_run_with_other_classes_is_rejected(folders, data_root, tmp_path):
    code = (
        "from fmnist_lightning.data import FashionMNISTData\n\n\n"
        "class Letters(FashionMNISTData):\n    class_names = tuple('abcdefghij')\n"
    )
    (tmp_path / "my_letters.py").write_text(code)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "letters.yaml").write_text("defaults: [synthetic]\n_target_: my_letters.Letters\n")
    overrides = [typed for typed in TINY if typed != "data=synthetic"]
    small = ["data=letters", "model=ann", "model.hidden=[]", "logger=none", "trainer.accelerator=cpu"]
    cfg = compose(*overrides, *small, f"data.root={data_root}", config_dir=tmp_path)
    result = train_from_python(cfg, tmp_path / "run")
    assert "<td>j</td>" in result._repr_html_()
    with pytest.raises(ValueError, match=r"^run=\S+: its classes are not the ten of Fashion-MNIST$"):
        load_runs([folders[0], result.directory], config_dirs=[tmp_path], accelerator="cpu")
