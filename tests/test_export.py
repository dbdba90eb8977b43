"""The command export on small runs: files, model card, table, and what is rejected."""

import io
import json
import re
import shutil
import stat
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import onnx
import pytest
import torch
from hydra import compose
from PIL import Image

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.data.archives import UnreachableError
from fmnist_lightning.export import PACKAGES, export
from fmnist_lightning.inference import Predictor, load_run
from fmnist_lightning.runs.files import sha256
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train

NAMES = ["model.onnx", "model.pt2", "model.int8.onnx"]
CLASS_NAMES = list(FashionMNISTData.class_names)
MODELS = {"ann": ["model=ann", "model.hidden=[16]"], "cnn": ["model=cnn", "model.filters=[4,8]", "model.head=[16]"]}


def load_reference(run: Run) -> Predictor:
    """PyTorch's model in float32, which an export is compared with."""
    return load_run(run.folder, accelerator="cpu", precision="32-true")


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory) -> Path:
    """A directory with a run of each model, not exported."""
    folder = tmp_path_factory.mktemp("trained")
    for name, overrides in MODELS.items():
        train(composed(*overrides, "logger=none", "trainer.precision=bf16-mixed"), folder / name)
    return folder


def save_photos(folder: Path) -> Path:
    """Saves three images in the dataset's format, a file that is no image, and returns their labels."""
    folder.mkdir()
    for name in "abc":
        Image.new("L", (28, 28), 100).save(folder / f"{name}.png")
    (folder / "README").write_text("photos")
    (folder / "labels.csv").write_text("file,labels,kind\na.png,0|1|2|3|4,upper\nb.png,5|6|7|8|9,lower\nc.png,,hat\n")
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def exports(trained, tmp_path_factory) -> Path:
    """A directory with the runs exported to all files, each with the output of the command in output.txt."""
    copy = tmp_path_factory.mktemp("exports")
    labels = save_photos(copy / "photos")
    for name in MODELS:
        shutil.copytree(trained / name, copy / name)
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            photos = [f"labels={labels}"] if name == "cnn" else []
            export([f"run={copy / name}", "format=all", "quantize=int8", *photos])
        assert err.getvalue() == ""
        (copy / name / "output.txt").write_text(out.getvalue())
    return copy


@pytest.fixture(params=MODELS)
def exported(request, exports) -> Run:
    return Run(exports / request.param)


def test_output_compares_each_file_with_pytorch(exported):
    lines = (exported.folder / "output.txt").read_text().splitlines()
    if exported.folder.name == "cnn":
        lines.remove("predicting the photos")
    assert max(map(len, lines)) <= 80 or str(exported.folder) in max(lines, key=len)
    stages = ["loading PyTorch", "loading the data", "predicting the test images with PyTorch", "tracing the model"]
    assert lines[:7] == [*stages, *(f"exporting and testing {name}" for name in NAMES)]
    rows = {line.split()[0]: line.split() for line in lines[8:12]}
    assert list(rows) == ["PyTorch", *NAMES]
    for name in NAMES[:2]:
        assert rows[name][3:7] == [rows["PyTorch"][1], "100", "of", "100"]
        assert float(rows[name][7]) <= 1e-5
    size = {name: float(rows[name][1]) for name in NAMES}
    assert size["model.int8.onnx"] < size["model.onnx"]
    assert lines[12:] == [f"model card: {exported.folder}/export/MODEL_CARD.md", f"run: {exported.folder}"]
    files = sorted((exported.folder / "export").iterdir())
    assert [path.name for path in files] == sorted([*NAMES, "MODEL_CARD.md"])
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}


def test_files_name_classes_and_provenance(exported):
    summary = exported.read_summary()
    expected = {
        "run": exported.folder.name,
        "data": "synthetic images, NOT Fashion-MNIST",
        "data_sha256": summary["data_sha256"],
        "checkpoint_sha256": sha256(exported.best_checkpoint),
        "epoch": summary["best_epoch"],
        "versions": summary["versions"],
        "license": "MIT",
        "class_names": CLASS_NAMES,
        "temperature": load_reference(exported).calibration.temperature,
    }
    for name in ("model.onnx", "model.int8.onnx"):
        props = onnx.load(exported.folder / "export" / name).metadata_props
        found = {prop.key: prop.value for prop in props}
        for key, value in expected.items():
            assert (found[key] if isinstance(value, str) else json.loads(found[key])) == value
        assert set(json.loads(found["exported_with"])) == {"fmnist_lightning", "torch", *PACKAGES}
        assert found["git_commit"].startswith(summary["git_commit"] or "unknown")
        assert ("quantization" in found) == ("int8" in name)
    found = torch_metadata(exported.folder / "export" / "model.pt2")
    assert {key: found[key] for key in expected} == expected


def torch_metadata(path: Path) -> dict:
    files = {"metadata.json": ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files["metadata.json"])


def test_model_card_describes_the_run(exported):
    card = (exported.folder / "export" / "MODEL_CARD.md").read_text()
    assert "**Trained and tested on synthetic images, NOT Fashion-MNIST: the scores say nothing" in card
    assert "Zalando" not in card
    assert "| 9 Ankle boot | " in card
    assert "320 training and 80 validation images" in card
    assert "precision of the training bf16-mixed; the exported weights are float32." in card
    assert ", without temperature scaling 0." in card
    if exported.folder.name == "ann":
        assert "\nPhotos: not measured for this run.\n" in card
    else:
        assert "\n```text\nlabelled images: 3 predicted, of 3 in the file\n" in card
        assert {"0.0000", "1.0000"} == set(re.findall(r"^(?:upper|lower) +1 +(\S+) ", card, re.MULTILINE))
        assert re.search(r"^all with a class +2 +0\.5000 ", card, re.MULTILINE)
    assert str(exported.folder.parent) not in card
    assert not re.search(r"\n\n\n|{{|}}|{%|: None|unknown", card)
    for heading in ("Files", "Data and training", "Scores", "Limitations", "License", "Provenance"):
        assert f"\n## {heading}\n" in card


def execute(folder: Path, example: str, *blocked: str) -> str:
    """The output of a program in an interpreter that cannot import this package, Lightning, Hydra and `blocked`."""
    names = ("fmnist_lightning", "lightning", "hydra", *blocked)
    program = f"import sys\nfor name in {names}: sys.modules[name] = None\n{example}"
    command = [sys.executable, "-W", "error", "-c", program]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.strip()


def examples(run: Run) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (run.folder / "export" / "MODEL_CARD.md").read_text(), re.DOTALL)
    assert all(len([line for line in example.splitlines() if line]) <= 10 for example in found)
    return found


def test_documentation_has_the_examples_of_the_model_card(exports):
    page = (Path(__file__).parent.parent / "docs" / "export.md").read_text()
    assert all(f"```python\n{example}```" in page for example in examples(Run(exports / "cnn")))


def test_onnxruntime_example_of_the_model_card_runs_without_torch(exported):
    Image.new("L", (28, 28), 100).save(exported.folder / "export" / "garment.png")
    output = execute(exported.folder / "export", examples(exported)[0], "torch", "onnx")
    image = torch.full((1, 28, 28), 100, dtype=torch.uint8)
    (expected,) = load_reference(exported).predict(image)
    name, _, probability = output.rpartition(" ")
    assert name == CLASS_NAMES[expected.argmax()]
    assert float(probability) == pytest.approx(expected.max().item(), abs=1e-5)


@pytest.mark.slow  # loads torch in another process
def test_torch_example_of_the_model_card_needs_torch_alone(exports):
    example = examples(Run(exports / "ann"))[1]
    assert example == examples(Run(exports / "cnn"))[1]
    program = example + "\n" + example.replace("model.pt2", "../../cnn/export/model.pt2")
    output = execute(exports / "ann" / "export", program, "onnx", "onnxruntime")
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    runs = (Run(exports / name) for name in ("ann", "cnn"))
    expected = (load_reference(run).predict(image).argmax() for run in runs)
    assert output.splitlines() == [CLASS_NAMES[label] for label in expected]


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy of a run that is not exported."""
    shutil.copytree(trained / "ann", tmp_path / "run")
    return Run(tmp_path / "run")


def rejected(*arguments: str) -> str:
    """The message with which the command fails, of one line."""
    with pytest.raises(ValueError) as raised:
        export(list(arguments))
    message = format_error(raised.value)
    assert "\n" not in message
    return message


def test_existing_files_are_replaced_only_with_overwrite(run):
    folder = run.folder / "export"
    folder.mkdir()
    (folder / "model.pt2").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    message = rejected(f"run={run.folder}", "format=torch")
    assert message == f"{folder}: already contains model.pt2; not overwritten. Add overwrite=true"
    assert (folder / "model.pt2").read_text() == "mine"
    export([f"run={run.folder}", "format=torch", "overwrite=true"])
    assert torch_metadata(folder / "model.pt2")["run"] == "run"
    assert (folder / "notes.txt").read_text() == "mine"
    assert "onnxruntime.InferenceSession" not in (folder / "MODEL_CARD.md").read_text()
    assert "contains model.pt2, MODEL_CARD.md; not overwritten" in rejected(f"run={run.folder}", "format=torch")


def test_file_that_fails_is_not_kept_and_the_old_one_is(run, monkeypatch):
    (run.folder / "export").mkdir()
    (run.folder / "export" / "model.pt2").write_text("old")
    monkeypatch.setattr("fmnist_lightning.models.ANN.forward", lambda self, images: torch.rand(images.shape[0], 10))
    message = rejected(f"run={run.folder}", "format=torch", "overwrite=true")
    assert message.startswith("model.pt2: not kept, it differs from PyTorch: of 100 test images")
    assert [path.name for path in (run.folder / "export").iterdir()] == ["model.pt2"]
    assert (run.folder / "export" / "model.pt2").read_text() == "old"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=nowhere"], "run=nowhere: no run, nowhere is missing; a run's last line names its directory"),
        (["run=RUN", "format=tflite"], "format=tflite: must be one of onnx, torch, all"),
        (["run=RUN", "format=torch", "quantize=int8"], "quantize=int8: needs format=onnx or format=all"),
        (["run=RUN", "quantize=true"], "quantize=true: must be one of none, int8"),
        (["run=RUN", "overwrite=yes"], "overwrite=yes: must be one of true, false"),
        (["run=RUN", "format=torch", "labels=nowhere.csv"], "labels=nowhere.csv: No such file or directory"),
        (["run=RUN", "--config-dir=nowhere"], "--config-dir=nowhere: no such directory"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, message, run):
    assert rejected(*(word.replace("RUN", str(run.folder)) for word in arguments)) == message
    assert not (run.folder / "export").exists()


def test_run_without_scores_is_rejected(run):
    summary = run.read_summary()
    run.write_summary({name: summary[name] for name in ("status", "overrides")} | {"status": "running"})
    message = rejected(f"run={run.folder}")
    assert message == f"run={run.folder}: has no scores, its status is running; resume={run.folder} resumes it"


def test_missing_or_other_images_are_rejected(run, tmp_path, monkeypatch):
    config = run.config_file.read_text()
    assert "source: synthetic" in config
    run.config_file.write_text(re.sub(r"num_test: 100", "num_test: 90", config))
    assert "these are not its images, data_sha256 differs; set data.root=DIR" in rejected(
        f"run={run.folder}", "format=torch", f"data.root={tmp_path}"
    )
    run.write_summary(run.read_summary() | {"data": "fashion_mnist"})
    monkeypatch.delenv("FASHION_MNIST_MIRROR", raising=False)
    with pytest.raises(UnreachableError, match="Fashion-MNIST is not in "):  # the configuration names no mirror
        export([f"run={run.folder}", "format=torch", f"data.root={tmp_path}"])
    assert not (run.folder / "export").exists()


def test_file_in_place_of_the_directory_is_rejected(run):
    (run.folder / "export").write_text("mine")
    assert "export is not a directory" in rejected(f"run={run.folder}")


def test_missing_extra_is_named_before_torch_is_loaded(run):
    program = f"""
import sys, importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "onnxscript" else find_spec(name, *more)
from fmnist_lightning.export import main
sys.argv = ["export", "run={run.folder}"]
try:
    main()
finally:
    print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout == "False\n"
    message = "error: format=onnx needs onnxscript: not installed; pip install 'fmnist_lightning[export]'\n"
    assert (answer.returncode, answer.stderr) == (1, message)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("model", ["ann", "cnn"])
def test_parity_on_all_test_images_of_fashion_mnist(model, composed, tmp_path, capsys):
    few = ["trainer.max_epochs=1", "trainer.limit_train_batches=20", "trainer.accelerator=cpu", "~callbacks.progress"]
    train(compose("config", [f"model={model}", f"data.root={tmp_path}", *few]), tmp_path / "run")
    export([f"run={tmp_path / 'run'}", "format=all"])
    output = capsys.readouterr().out
    assert output.count("10,000 of 10,000") == 2
    card = (tmp_path / "run" / "export" / "MODEL_CARD.md").read_text()
    assert "**Partial run (trainer.limit_train_batches=20): the scores do not compare" in card
    assert "Fashion-MNIST: MIT, Zalando SE" in card
