"""A project outside the package, passed as --config-dir, through every command; its model is the documentation's."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_lightning.runs.run import Run

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parent.parent
FILES = {
    "my_callbacks.py": """
import os, signal
from lightning.pytorch.callbacks import Callback
class SignalAfterEpoch(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        if str(trainer.current_epoch + 1) == os.environ.get("SIGNAL_AFTER_EPOCH"):
            os.kill(os.getpid(), signal.SIGTERM)
""",
    "my_loggers.py": """
from pathlib import Path
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only
class Lines(Logger):
    name, version = "lines", ""
    def __init__(self, file):
        self.file = Path(file)
    @rank_zero_only
    def log_hyperparams(self, params):
        self.write("hyperparameters " + params["model"]["_target_"])
    @rank_zero_only
    def log_metrics(self, metrics, step=None):
        self.write(f"step {step} " + " ".join(sorted(metrics)))
    def write(self, line):
        with self.file.open("a") as file:
            file.write(line + "\\n")
""",
    "my_optim.py": """
import torch
class Plain(torch.optim.SGD):
    pass
def halve(optimizer, total_steps, gamma):
    return torch.optim.lr_scheduler.StepLR(optimizer, total_steps // 2, gamma)
""",
    "callbacks/mine.yaml": "defaults: [default, _self_]\nsignal:\n  _target_: my_callbacks.SignalAfterEpoch\n",
    "logger/mine.yaml": "defaults: [csv, _self_]\nlines:\n  _target_: my_loggers.Lines\n  file: lines.txt\n",
    "optimizer/mine.yaml": "_target_: my_optim.Plain\n_partial_: true\nlr: 0.01\n",
    "scheduler/mine.yaml": "_target_: my_optim.halve\n_partial_: true\ngamma: 0.5\n",
    "experiment/mine.yaml": """# @package _global_
defaults:
  - override /model: one_layer
  - override /optimizer: mine
  - override /scheduler: mine
  - override /callbacks: mine
  - override /logger: mine
model:
  width: 16
""",
}
Answer = subprocess.CompletedProcess[str]


def command(cwd: Path, *arguments: str, module: str = "fmnist_lightning", **env: str) -> Answer:
    program = [sys.executable, "-m", module, *arguments]
    return subprocess.run(program, cwd=cwd, env=os.environ | env, capture_output=True, text=True, timeout=240)


def documented_model() -> tuple[str, str, list[list[str]]]:
    """The Python file, the yaml and the commands of docs/add-your-own-model.md."""
    section = (REPOSITORY / "docs" / "add-your-own-model.md").read_text()
    (python,), (config,), (shell,) = (
        re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("python", "yaml", "sh")
    )
    return python, config, [line.split() for line in shell.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def small(data_root: Path) -> list[str]:
    data = ["data=synthetic", "data.num_train=400", "data.num_test=100", f"data.root={data_root}"]
    return [*data, "data.batch_size=64", "trainer.max_epochs=4", "trainer.accelerator=cpu"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the folder mycode: the documented model, and code for every other group."""
    folder = tmp_path_factory.mktemp("user")
    python, config, _ = documented_model()
    for name, text in (FILES | {"my_models.py": python, "model/one_layer.yaml": config}).items():
        (folder / "mycode" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mycode" / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def outputs(project: Path, small: list[str]) -> list[Answer]:
    """Of one run: interrupted after epochs 1 and 3, and resumed, by resume=auto and by resume=DIR."""
    typed = ["experiment=mine", *small, "hydra.run.dir=run", "resume=auto", "--config-dir", "mycode"]
    return [
        command(project, *typed, SIGNAL_AFTER_EPOCH="1"),
        command(project, "resume=run", "--config-dir", "mycode", SIGNAL_AFTER_EPOCH="3"),
        command(project, *typed),
    ]


def test_run_is_interrupted_and_resumed_with_own_code(outputs, project):
    assert [answer.returncode for answer in outputs] == [143, 143, 0], [answer.stderr for answer in outputs]
    summary = Run(project / "run").read_summary()
    assert (summary["status"], summary["model"], summary["epochs"]) == ("completed", "onelayer", 4)
    assert [part["after_epoch"] for part in summary["resumed"]] == [1, 3]
    rates = [row["lr"] for row in Run(project / "run").read_metrics()]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005])
    assert outputs[0].stdout.startswith("resume=auto: no unfinished run of this configuration, starting a new one\n")
    checkpoint = Path("run", "checkpoints", "last.ckpt")
    for answer, epoch in zip(outputs[1:], (1, 3), strict=True):
        assert "no unfinished run" not in answer.stdout
        assert f"resuming after epoch {epoch} from {checkpoint}\n" in answer.stdout
    assert "\nevaluate: " in outputs[2].stdout
    assert " --config-dir=mycode run=run\n" in outputs[2].stdout


def test_own_logger_gets_each_epoch_once_and_the_scores(outputs, project):
    steps = [line.split() for line in (project / "lines.txt").read_text().splitlines()]
    assert [line[1] for line in steps if "val/loss" in line] == ["1", "2", "3", "4"]
    assert [line[1] for line in steps if line[0] == "hyperparameters"] == ["my_models.OneLayer"] * 3
    assert "whole_run/test/accuracy" in steps[-1]
    with (project / "run" / "csv" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file) if row["val/loss"]] == ["1", "2", "3", "4"]


def test_evaluate_with_config_dir_agrees(outputs, project):
    answer = command(project, "run=run", "accelerator=cpu", "--config-dir=mycode", module="fmnist_lightning.evaluate")
    assert answer.returncode == 0, answer.stderr
    assert "agrees with its summary" in answer.stdout


def test_without_config_dir_one_line_names_the_class_and_the_option(outputs, project):
    for module, typed in (("fmnist_lightning", "resume=run"), ("fmnist_lightning.evaluate", "run=run")):
        answer = command(project, typed, module=module)
        assert answer.returncode == 1
        (line,) = answer.stderr.splitlines()
        assert re.search(r"_target_=my_\w+\.\w+: no config file names it; .* add --config-dir DIR", line)


def test_sweep_in_worker_processes_imports_own_code(project, small):
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"]
    typed = ["experiment=mine", "logger=csv", *small, *launcher, "model.width=4,8", "trainer.max_epochs=1"]
    answer = command(project, "-m", *typed, "--config-dir", "mycode")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert [Run(path.parent).read_status() for path in project.glob("sweep/*/summary.json")] == ["completed"] * 2


def test_documented_model_in_a_directory_of_its_own(project, small):
    _, _, (train, evaluate) = documented_model()
    for line, more in ((train, [*small, "trainer.max_epochs=1"]), (evaluate, ["accelerator=cpu"])):
        assert line[:2] == ["python", "-m"]
        answer = command(project, *line[3:], *more, module=line[2])
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert Run(project / "outputs" / "one_layer").read_config(config_dirs=[project / "mycode"]).model.width == 128


def test_documented_model_in_the_package(small, tmp_path):
    for name in ("fmnist_lightning", "conf"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    python, config, _ = documented_model()
    (tmp_path / "fmnist_lightning" / "models" / "one_layer.py").write_text(python)
    target = "fmnist_lightning.models.one_layer.OneLayer"
    (tmp_path / "conf" / "model" / "one_layer.yaml").write_text(config.replace("my_models.OneLayer", target))
    typed = ["model=one_layer", *small, "trainer.max_epochs=1", "hydra.run.dir=run"]
    answer = command(tmp_path, *typed, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 0, answer.stdout + answer.stderr
