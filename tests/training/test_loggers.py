"""CSV, MLflow, wandb and TensorBoard at once: what they hold of a run that was resumed, and what a failing one does."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fmnist_lightning.config.extras import check_loggers
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.runs.run import Run

pytestmark = pytest.mark.slow
EPOCHS = [1, 2, 3]
SCORES = {"accuracy": "accuracy", "loss": "loss", "macro_f1": "f1"}
BROKEN = """
from lightning.pytorch.loggers.logger import Logger
class Broken(Logger):
    name, version = "broken", ""
    def log_hyperparams(self, params):
        open("started", "w").write("yes")
    def log_metrics(self, metrics, step=None):
        open("asked", "a").write(f"{step} ")
        raise ConnectionError("the server is gone")
"""


def fmnist(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY")
    env = {key: value for key, value in os.environ.items() if key not in variables}
    answer = subprocess.run(
        [sys.executable, "-m", "fmnist_lightning", *arguments], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer


def tiny(data_root: Path, *more: str) -> list[str]:
    data = ["data=synthetic", "data.num_train=400", "data.num_test=100", f"data.root={data_root}"]
    return [*data, "data.batch_size=64", "model=ann", "trainer.accelerator=cpu", "hydra.run.dir=run", *more]


@pytest.fixture(scope="module")
def resumed(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all loggers and one that fails, over two epochs, and resumed for a third one."""
    folder = tmp_path_factory.mktemp("loggers")
    (folder / "own" / "logger").mkdir(parents=True)
    (folder / "own" / "my_loggers.py").write_text(BROKEN)
    (folder / "own" / "logger" / "broken.yaml").write_text("broken:\n  _target_: my_loggers.Broken\n")
    loggers = "logger=[tensorboard,csv,mlflow,wandb,broken]"
    first = fmnist(folder, *tiny(data_root, "trainer.max_epochs=2", loggers, "--config-dir", "own"))
    assert first.stderr == "logger=broken failed, the run continues without it: the server is gone\n"
    fmnist(folder, "resume=run", "trainer.max_epochs=3", "--config-dir", "own")
    return Run(folder / "run")


@pytest.fixture(scope="module")
def scores(resumed: Run) -> dict[str, float]:
    summary = resumed.read_summary()
    scores = summary["test"] | summary["test"]["macro"]
    return {f"whole_run/test/{name}": scores[key] for name, key in SCORES.items()}


def test_csv_has_each_epoch_once_the_scores_and_the_config(resumed, scores):
    with (resumed.folder / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    losses = {int(row["step"]): float(row["val/loss"]) for row in rows if row["val/loss"]}
    assert [int(row["step"]) for row in rows if row["val/loss"]] == EPOCHS
    assert list(losses.values()) == pytest.approx([row["val/loss"] for row in resumed.read_metrics()])
    assert {name: float(rows[-1][name]) for name in scores} == pytest.approx(scores)
    config = yaml.safe_load(resumed.config_file.read_text())
    for path in ("csv/hparams.yaml", "hparams.yaml"):  # hparams.yaml in the run directory is TensorBoard's
        assert yaml.safe_load((resumed.folder / path).read_text()) == config
    assert config["trainer"]["max_epochs"] == 3


def test_mlflow_has_one_run_with_each_epoch_once_scores_config_and_report(resumed, scores):
    store = resumed.folder.parent / "outputs" / "mlflow.db"
    with sqlite3.connect(store) as database:
        ((run_id, status, name),) = database.execute("select run_uuid, status, name from runs").fetchall()
        losses = database.execute("select step, value from metrics where key = 'val/loss' order by step").fetchall()
        latest = dict(database.execute("select key, value from latest_metrics").fetchall())
        params = dict(database.execute("select key, value from params").fetchall())
    assert (status, name) == ("FINISHED", "run")
    assert [step for step, _ in losses] == EPOCHS
    assert [loss for _, loss in losses] == pytest.approx([row["val/loss"] for row in resumed.read_metrics()])
    assert {name: latest[name] for name in scores} == pytest.approx(scores)
    assert params["optimizer/lr"] == "0.003"
    assert "hidden" not in params  # but model/hidden
    artifacts = store.with_suffix(".artifacts") / run_id / "artifacts"
    assert (artifacts / "report" / "report.html").read_bytes() == resumed.report_html.read_bytes()
    assert (artifacts / "config.yaml").exists()
    database.close()


READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2
raw, position, part = open(sys.argv[1], "rb").read(), 7, b""
while position + 7 <= len(raw):  # LevelDB's log format: blocks of 32 KiB, records in one or more parts
    if (left := 2**15 - position % 2**15) < 7:
        position += left
        continue
    size, kind = int.from_bytes(raw[position + 4 : position + 6], "little"), raw[position + 6]
    part = (b"" if kind in (1, 2) else part) + raw[position + 7 : position + 7 + size]
    position += 7 + size
    if kind in (1, 4):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(part)
        for item in record.config.update:
            print(json.dumps({"config": item.key, "value": json.loads(item.value_json)}))
        if record.history.item:
            print(json.dumps({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item}))
"""


def test_wandb_has_one_offline_run_with_each_epoch_once_scores_config_and_report(resumed, scores):
    (file,) = resumed.folder.glob("wandb/offline-run-*/*.wandb")
    program = [sys.executable, "-W", "ignore", "-c", READ_WANDB, str(file)]
    lines = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [record["trainer/global_step"] for record in records if "val/loss" in record] == EPOCHS
    (final,) = (record for record in records if "whole_run/test/loss" in record)
    assert {name: final[name] for name in scores} == pytest.approx(scores)
    config = {record["config"]: record["value"] for record in records if "config" in record}
    assert config["optimizer"]["lr"] == 0.003
    assert any("report/page/path" in record for record in records)
    assert resumed.read_summary()["logger_runs"]["wandb"] in file.name


def test_logger_is_disabled_after_its_first_error(resumed):
    assert (resumed.folder.parent / "asked").read_text() == "1 3 "  # once in each process
    assert resumed.read_summary()["status"] == "completed"


def test_logger_that_is_not_installed_is_rejected_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("mlflow", "wandb"):
        with pytest.raises(
            ValueError, match=rf"logger={name}: not installed; pip install 'fmnist_lightning\[{name}\]'"
        ):
            validate_command_line([f"logger={name}"])
    check_loggers({"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger"}})
