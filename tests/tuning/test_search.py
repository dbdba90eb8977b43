"""The command that searches hyperparameters: trials, pruning, continuing, joining, killed workers, invalid commands."""

import csv
import html
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from fmnist_lightning.config import extras
from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.runs.run import Run
from fmnist_lightning.search import search
from fmnist_lightning.tuning.command_line import parse

LR = "search.space.optimizer.lr=tag(log,interval(1e-4,1e-2))"
ANN_KEYS = ("optimizer.lr", "optimizer.weight_decay", "model.dropout", "model.hidden", "data.batch_size")
SMALL = [LR, "~search.space.model.hidden", "~search.space.data.batch_size"]  # two of its keys are left


def finish(process: "subprocess.Popen[str]") -> str:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors + output
    return output


def ended_trials(output: str) -> set[int]:
    """The numbers in the rows before the final table."""
    progress = output.partition("\n\n")[0]
    return {int(number) for number in re.findall(r"^ +(\d+)  ", progress, re.MULTILINE)}


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def browse(command: list[str], folder: Path) -> list[dict[str, str]]:
    """The studies that the dashboard of a command shows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [Path(sys.executable).with_name(command[0]), *command[1:], f"--port={port}", "--quiet"]
    with subprocess.Popen(program, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            while server.poll() is None:
                url = f"http://127.0.0.1:{port}/api/studies"
                with suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=60) as answer:
                    return json.load(answer)["study_summaries"]
                time.sleep(0.1)
            raise AssertionError(server.communicate()[1])
        finally:
            server.terminate()


@pytest.mark.slow
def test_trials_are_ordinary_runs_that_are_pruned_and_never_tested(start, tmp_path):
    finish(start(*SMALL, "search.trials=6", "trainer.max_epochs=4"))
    output = finish(start(*SMALL, "search.trials=9", "trainer.max_epochs=4", "search.final=2"))
    assert ended_trials(output) == {6, 7, 8}, "the trials of the first command are kept"
    folder = tmp_path / "outputs" / "search_ann"
    rows = read(folder / "search.csv")
    assert [row["trial"] for row in rows] == [str(number) for number in range(9)]
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.load_study(study_name="ann", storage=storage)
    for row, trial in zip(rows, study.trials, strict=True):
        run = Run.existing(tmp_path / row["directory"])
        summary = run.read_summary()
        assert summary["status"] == row["state"] in ("completed", "pruned")
        assert "test" not in summary
        assert not run.predictions_csv.exists()
        assert {path.name for path in run.folder.iterdir()} > {"fmnist.log", "metrics.csv", ".hydra", "checkpoints"}
        assert any(run.folder.glob("events.out.tfevents.*"))
        losses = {int(each["epoch"]): each["val/loss"] for each in run.read_metrics()}
        assert trial.intermediate_values == losses
        assert float(row["val/loss"]) == min(losses.values())
        assert f"optimizer.lr={row['optimizer.lr']}" in summary["overrides"]
    assert {row["state"] for row in rows} == {"completed", "pruned"}
    best = min((row for row in rows if row["state"] == "completed"), key=lambda row: float(row["val/loss"]))
    command = shlex.split(re.search(r"^best: (.*)$", output, re.MULTILINE)[1])
    assert shlex.join(command) in html.unescape((folder / "search.html").read_text())
    folder = tmp_path / "again"
    again = [sys.executable, *command[1:], f"hydra.run.dir={folder}"]
    subprocess.run(again, cwd=tmp_path, check=True, capture_output=True)
    assert Run(folder).read_metrics() == Run(tmp_path / best["directory"]).read_metrics()
    for seed in (1, 2):
        (run,) = (tmp_path / "outputs" / "search_ann").glob(f"final_trial_*_seed{seed}")
        assert Run(run).read_summary()["test"]["accuracy"] > 0
    assert "2 runs: val/loss" in output


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite", "postgresql"])
def test_trial_of_a_killed_worker_is_repeated(storage, start, tmp_path, request):
    arguments = [*SMALL, "search.trials=3", "trainer.max_epochs=20", "search.pruner=none", "search.heartbeat=1"]
    if storage != "journal":
        url = f"sqlite:///{tmp_path}/s.db" if storage == "sqlite" else request.getfixturevalue("postgresql")
        arguments += [f"search.storage={url}", "search.study=killed"]
    folder = tmp_path / "outputs" / ("search_ann" if storage == "journal" else "search_killed")
    killed = start(*arguments)
    wait_for(folder / "trial_0001" / "metrics.csv", killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    output = finish(start(*arguments))
    rows = read(folder / "search.csv")
    assert [row["state"] for row in rows] == ["completed", "retried", "completed", "completed"]
    again = next(row for row in rows[2:] if row["optimizer.lr"] == rows[1]["optimizer.lr"])
    assert again["model.dropout"] == rows[1]["model.dropout"]
    assert "3 trials: 3 completed" in output


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "postgresql"])
def test_two_processes_share_a_study(storage, start, tmp_path, request):
    arguments = [*SMALL, "search.trials=8", "search.study=shared"]
    if storage == "postgresql":
        arguments.append(f"search.storage={request.getfixturevalue('postgresql')}")
    outputs = [finish(process) for process in [start(*arguments) for _ in range(2)]]
    assert len(read(tmp_path / "outputs" / "search_shared" / "search.csv")) == 8
    numbers = [ended_trials(output) for output in outputs]
    assert numbers[0] | numbers[1] == set(range(8))
    assert not numbers[0] & numbers[1]
    assert all("8 trials: " in output for output in outputs)
    page = html.unescape((tmp_path / "outputs" / "search_shared" / "search.html").read_text())
    command = shlex.split(re.search(r"^optuna-dashboard .*?(?=</code>)", page, re.MULTILINE)[0])
    assert "shared" in [study["study_name"] for study in browse(command, tmp_path)]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [["search.jobs=2"], ["search.jobs=2", "hydra/launcher=submitit_local"]])
def test_jobs_share_the_cores(jobs, start, tmp_path, monkeypatch):
    if num_cores() < 2:
        pytest.skip("one core")
    monkeypatch.delenv("OMP_NUM_THREADS")
    output = finish(start(*SMALL, "search.trials=4", *jobs))
    assert ended_trials(output) == {0, 1, 2, 3}
    for number in range(4):
        run = Run(tmp_path / "outputs" / "search_ann" / f"trial_{number:04d}")
        assert run.read_summary()["openmp"]["threads"] == num_cores() // 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2)])
def test_interrupted_search_leaves_no_running_trial_and_continues(number, jobs, start, tmp_path):
    jobs = min(jobs, num_cores())
    arguments = [*SMALL, "search.trials=3", "trainer.max_epochs=20", "search.pruner=none", f"search.jobs={jobs}"]
    process = start(*arguments)
    wait_for(tmp_path / "outputs" / "search_ann" / "trial_0001" / "metrics.csv", process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    output, errors = process.communicate(timeout=600)
    assert output.endswith(": the same command continues the search\n")
    assert not errors
    assert process.returncode == 128 + number
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "outputs" / "search_ann" / "study.journal")))
    states = [trial.state for trial in optuna.load_study(study_name="ann", storage=storage).trials]
    assert TrialState.RUNNING not in states
    assert TrialState.WAITING in states
    assert "3 trials: 3 completed" in finish(start(*arguments))


@pytest.mark.slow
def test_ctrl_c_that_reaches_the_command_only_ends_its_processes(start, tmp_path):
    if num_cores() < 2:
        pytest.skip("one core")
    long = ["trainer.max_epochs=10000", "callbacks.early_stopping.patience=10000", "search.pruner=none"]
    process = start(*SMALL, *long, "search.trials=2", "search.jobs=2")
    for number in range(2):
        wait_for(tmp_path / "outputs" / "search_ann" / f"trial_{number:04d}" / "metrics.csv", process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (128 + signal.SIGINT, "")
    assert output.endswith("interrupted: the same command continues the search\n")
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "outputs" / "search_ann" / "study.journal")))
    states = [trial.state for trial in optuna.load_study(study_name="ann", storage=storage).trials]
    assert sorted(states) == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2


@pytest.mark.slow
def test_failed_trials_do_not_end_a_search(start, tmp_path):
    space = ["search.space.optimizer.lr=choice(0.001,1e30)", "search.space.model.hidden=choice([16],[1000000000000])"]
    output = finish(start(*space, *SMALL[2:], "~search.space.model.dropout", "search.trials=12", "optimizer=sgd"))
    rows = read(tmp_path / "outputs" / "search_ann" / "search.csv")
    states = {(row["optimizer.lr"], row["model.hidden"]): row["state"] for row in rows}
    assert states == {key: "completed" if key == ("0.001", "[16]") else "failed" for key in states}
    assert len(states) == 4, "each combination was tried"
    assert "failed: optimizer.lr=1e+30: the loss is" in output
    assert "can't allocate memory" in output


@pytest.mark.slow
def test_study_with_another_space_is_rejected_by_its_keys(start):
    finish(start(*SMALL, "search.trials=1"))
    process = start(*SMALL, "search.space.model.dropout=interval(0,0.1)", "seed=3")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert "search.study=ann: this study has other settings: search.space.model.dropout is interval(0.0,0.5)" in errors
    assert "seed is 0 there, 3 here" in errors


def test_settings_of_a_study_are_those_composed_not_those_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["model=ann", "data=synthetic", LR, *(f"~search.space.{key}" for key in ANN_KEYS[1:])]
    settings = parse(typed).settings()
    assert "optimizer.lr" not in settings  # but its interval
    assert parse([*typed, "optimizer=adam", "trainer=cpu", "logger=none", "seed=1"]).settings() == settings | {
        "seed": "1"
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search.trials=0"], "search.trials=0: must be an integer, at least 1"),
        (["search.pruner=fast"], "must be one of median, hyperband, none"),
        (["search.trial=4"], "did you mean search.trials=4?"),
        (["search=mlp"], "search=mlp: allowed are ann, cnn"),
        (
            ["search.spac.optimizer.lr=interval(0,1)"],
            "search.pruner=NAME, search.space.KEY=VALUES, search=NAME",
        ),
        (["search.space=small"], "did you mean search.space.KEY=small?"),
        (["-m", "model=ann"], "-m: not in a search"),
        (["search.study=a/b"], "search.study=a/b: allowed are letters"),
        (
            ["search.storage=sqlite:///:memory:"],
            "search.storage=sqlite:…: allowed are a file, sqlite:///FILE",
        ),
        (["search.space.optimizer.lrr=interval(0,1)"], "did you mean optimizer.lr="),
        (["search.space.optimizer.lr=choice(0.1,-1)"], "choice(0.1,-1): optimizer.lr=-1: must be a number above 0"),
        (["search.space.data.batch_size=interval(32,64)"], "integers are int(interval(32,64))"),
        (["search.space.optimizer.lr=interval(1,1)"], "empty"),
        (["search.storage=/proc/x/study"], "search.storage=/proc/x/study: cannot write there"),
        (["trainer.devices=2"], "trainer.devices=2: a trial trains on one device"),
        (["callbacks.best_checkpoint.monitor=train/loss"], "a search optimizes val/loss or val/accuracy"),
        (["optimizer.lr=0.1,0.2"], "optimizer.lr=0.1,0.2: several values are several runs"),
        (["search.jobs=1000"], "search.jobs=1000: must be at most"),
        (["hydra/launcher=joblib"], "search.jobs=N trains several trials at a time"),
        pytest.param(["hydra/launcher=slurm"], "no Slurm on this machine", marks=pytest.mark.slow),
        ([*(f"~search.space.{key}" for key in ANN_KEYS)], "search.space: empty; type search.space.KEY=interval"),
        (["hydra.run.dir=x"], "search.folder=DIR names its directory"),
        (
            ["search.storage=oracle://me:secret@host/x"],
            "search.storage=oracle:…: allowed are a file, sqlite:///FILE, postgresql://USER@HOST/DATABASE",
        ),
        (["search.storage=sqlite:s.db"], "search.storage=sqlite:…: allowed are a file, sqlite:///FILE"),
        (["search.storage=sqlite://s.db"], "search.storage=sqlite:…: allowed are a file, sqlite:///FILE"),
        (["search.storage=postgresql:me@host"], "search.storage=postgresql:…: allowed are a file, sqlite:///FILE"),
        (
            ["search.storage=postgresql://host/x"],
            "postgresql://host/x: must have the form sqlite:///FILE or postgresql",
        ),
        (["search.storage=postgresql://me:secret@127.0.0.1:1/x"], "postgresql://me:***@127.0.0.1:1/x: cannot be reach"),
        (
            ["search.space.data.val_fraction=interval(0.1,0.3)"],
            "0.3): must be the same for all trials; type data.val_f",
        ),
        (["search.space.trainer.devices=choice(1,2)"], "trainer.devices=choice(1,2): must be the same for all trials"),
        (["search.space.hydra.run.dir=choice(a,b)"], "hydra.run.dir=choice(a,b): must be the same for all trials"),
        (
            ["search.space.callbacks.best_checkpoint.monitor=choice(val/loss,val/accuracy)"],
            "search.space.callbacks.best_checkpoint.monitor=choice(val/loss,val/accuracy): must be the same",
        ),
    ],
)
def test_invalid_command_is_rejected_before_the_first_trial(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        search(["model=ann", "data=synthetic", *arguments])
    assert not list(tmp_path.iterdir())


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(extras.EXTRAS, "optuna", ("no_such_module", "search"))
    with pytest.raises(ValueError, match=r"pip install 'fmnist_lightning\[search\]'"):
        search(["model=ann"])
