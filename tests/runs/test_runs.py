import re
import shutil
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from fmnist_lightning.config.compose import Composer, without_hydra
from fmnist_lightning.evaluate import evaluate
from fmnist_lightning.inference import load_run
from fmnist_lightning.models import ANN
from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.runs.resume import find_unfinished_runs
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory):
    """The directory of a completed run of a small ANN."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(composed("model=ann", "model.hidden=[16]", "trainer.max_epochs=1"), folder, [])
    return folder


@pytest.fixture
def finished(trained, tmp_path):
    """A copy of that run, to read or to damage."""
    return Run(shutil.copytree(trained, tmp_path / "run"))


def test_best_checkpoint_loads_without_this_package(finished):
    program = (
        "import sys, torch\n"
        "sys.modules['fmnist_lightning'] = None\n"  # any import of it fails
        "def plain(value):\n"
        "    if isinstance(value, dict): return all(plain(k) and plain(v) for k, v in value.items())\n"
        "    if isinstance(value, (list, tuple)): return all(map(plain, value))\n"
        "    return value is None or type(value) in (torch.Tensor, int, float, bool, str)\n"
        "checkpoint = torch.load(sys.argv[1], weights_only=True)\n"
        "checkpoint['state_dict'] = dict(checkpoint['state_dict'])\n"
        "assert plain(checkpoint), checkpoint\n"
        "print(checkpoint['hyper_parameters']['hidden'], checkpoint['state_dict']['normalize.mean'].item() > 1)\n"
    )
    arguments = [sys.executable, "-c", program, str(finished.best_checkpoint)]
    answer = subprocess.run(arguments, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "[16] True"


def test_best_model_is_loaded_with_its_weights(finished):
    model = load_run(finished.folder).model
    assert isinstance(model, ANN)
    assert model.num_parameters == 784 * 16 + 2 * 16 + 170
    checkpoint = torch.load(finished.best_checkpoint, weights_only=True)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, checkpoint["state_dict"][name])


def test_weights_of_another_model_are_rejected_by_name(finished):
    config = finished.read_config()
    config.model.hidden = [8]
    atomic_write(finished.config_file, OmegaConf.to_yaml(config))
    with pytest.raises(ValueError, match=r"best\.ckpt: not the weights of ANN"):
        load_run(finished.folder)


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.hub.load", "fmnist_lightningx.models.ANN", "fmnist_lightning.training.run.subprocess.run"],
)
def test_stored_config_with_foreign_code_is_rejected_before_it_is_imported(target, finished):
    config = finished.read_config()
    config.callbacks.epoch_metrics._target_ = target
    atomic_write(finished.config_file, OmegaConf.to_yaml(config))
    with pytest.raises(ValueError, match=f"_target_={target}: no config file names it"):
        finished.read_config()
    with pytest.raises(ValueError, match="no config file names it"):
        evaluate([f"run={finished.folder}"])


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_damaged_summary_is_rejected_by_name(content, finished):
    finished.summary_json.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"summary\.json: damaged"):
        evaluate([f"run={finished.folder}"])


# found by mutating the files of a run at random, ten minutes long
TABLES = ["a,b\n1\n", "a,b\n1,2,3\n", "a\nx\n"]
PREDICTIONS = [f"index,label,predicted,p0\n{row}\n" for row in ("0,1", "0,9e9,1,1", "0,99999999999999999999,1,1")]


@pytest.mark.parametrize("content", [*TABLES, *PREDICTIONS, "", "\0", 'a\n"'])
def test_damaged_tables_are_rejected_by_name(content, finished):
    finished.metrics_csv.write_text(content)
    finished.predictions_csv.write_text(content)
    with pytest.raises(ValueError, match=r"predictions\.csv: damaged"):
        finished.read_predictions()
    if content in TABLES:
        with pytest.raises(ValueError, match=r"metrics\.csv: damaged"):
            finished.read_metrics()


def test_predictions_are_read_as_they_were_written(tmp_path):
    labels = torch.arange(50) % 10
    probabilities = torch.randn(50, 10).softmax(1)
    run = Run(tmp_path)
    run.write_predictions(labels, probabilities)
    labels_again, probabilities_again = run.read_predictions()
    assert torch.equal(labels, labels_again)
    assert torch.equal(probabilities, probabilities_again)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "run=DIR is missing"),
        (["run=.", "accelerator=mps"], "^accelerator=mps: no such device"),
        (["run=nowhere"], "run=nowhere: no run, nowhere is missing"),
        (["rum=x"], "did you mean run=x"),
        (["run=.", "accelerator=tpu9"], "accelerator=tpu9: must be one of auto"),
    ],
)
def test_evaluate_rejects_directories_without_a_run(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        evaluate(arguments)


def test_evaluate_rejects_a_directory_without_a_run_before_importing_torch(tmp_path):
    program = (
        "import sys; sys.argv = ['evaluate', 'run=' + sys.argv[1]]\n"
        "from fmnist_lightning.evaluate import main\n"
        "try: main()\n"
        "except SystemExit as refusal: print(refusal.code)\n"
        "print('torch' in sys.modules)\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    message, torch_imported = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert message.startswith(f"error: run={tmp_path}: no run")
    assert torch_imported == "False"


def test_evaluate_rejects_a_run_without_scores(tmp_path):
    run = Run(tmp_path)
    run.create({"status": "failed", "overrides": []}, OmegaConf.create({}), [])
    with pytest.raises(ValueError, match="has no scores, its status is failed"):
        evaluate([f"run={tmp_path}"])


def test_evaluate_rejects_other_images_than_those_of_the_run(finished):
    summary = finished.read_summary()
    finished.write_summary(summary | {"data_sha256": "0" * 64})
    with pytest.raises(ValueError, match="these are not its images, data_sha256 differs"):
        evaluate([f"run={finished.folder}"])


def test_write_is_atomic(tmp_path):
    path = tmp_path / "file"
    atomic_write(path, "first")
    with pytest.raises(TypeError):
        atomic_write(path, ["not", "bytes"])  # fails while the temporary file is open
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_resume_auto_finds_the_unfinished_run_in_the_default_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Composer() as composer:
        for overrides in (["model=ann", "seed=1"], ["model=cnn"], ["model=ann"]):
            cfg = composer.compose(overrides)
            run = Run(cfg.hydra.run.dir)
            run.folder.mkdir(parents=True)
            run.create({"status": "interrupted", "overrides": overrides}, without_hydra(cfg), overrides)
        (found,) = find_unfinished_runs(composer.compose(["model=ann"]))
    assert found.folder == run.folder.resolve()
    assert re.fullmatch(r"ann_lr0\.003_seed0_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", found.folder.name)
    assert found.folder.parent == tmp_path / "outputs"


def test_default_directory_of_a_multirun_names_its_time():
    with Composer() as composer:
        folder = composer.compose([]).hydra.sweep.dir
    assert re.fullmatch(r"outputs/sweep_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\d{6}", folder)
