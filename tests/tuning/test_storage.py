"""Studies in a journal file, SQLite and PostgreSQL: joined by several processes, one of which is killed."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fmnist_lightning.runs.provenance import code_sha256
from fmnist_lightning.tuning.retries import counted, retry_killed
from fmnist_lightning.tuning.run import run_search
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.space import Parameter
from fmnist_lightning.tuning.storage import open_study

TRIAL = """
import sys, time
from tests.tuning.test_storage import make_search
from fmnist_lightning.tuning.storage import open_study
search = make_search(*sys.argv[1:])
def objective(trial):
    trial.suggest_float("optimizer.lr", 0.1, 0.9)
    with search.run(trial.number).locked():
        trial.report(0.1 + 0.2, 1)
        print("running", flush=True)
        time.sleep(600)
open_study(search).optimize(objective, n_trials=1)
"""


def make_search(folder: str, storage: str, space: str = "interval(0.1,0.9)") -> Search:
    return Search("s", storage, Path(folder), {"optimizer.lr": Parameter(space, 0.1, 0.9)}, num_trials=3, heartbeat=1)


@pytest.mark.parametrize("kind", ["journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_trial_of_a_killed_process_is_queued_again_once(kind, tmp_path, request):
    storage = {"journal": f"{tmp_path}/study.journal", "sqlite": f"sqlite:///{tmp_path}/new/s.db"}.get(kind)
    storage = storage or request.getfixturevalue("postgresql")
    process = subprocess.Popen([sys.executable, "-c", TRIAL, tmp_path, storage], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n"
    search = make_search(str(tmp_path), storage)
    study = open_study(search)
    retry_killed(study, search)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING], "its process is alive"
    process.kill()
    process.communicate()
    while TrialState.RUNNING in [trial.state for trial in study.trials]:
        retry_killed(study, search)
        time.sleep(0.1)
    retry_killed(study, search)
    killed, again = study.trials
    assert killed.state == TrialState.FAIL
    assert killed.intermediate_values == {1: 0.1 + 0.2}
    assert again.state == TrialState.WAITING
    assert again.params == killed.params
    assert [trial.number for trial in counted(study)] == [1]
    with pytest.raises(ValueError, match=r"search\.space\.optimizer\.lr is interval\(0\.1,0\.9\) there"):
        open_study(make_search(str(tmp_path), storage, "interval(0.2,0.9)"))


def test_file_that_is_no_journal_is_rejected(tmp_path):
    for content in ("hello\nworld\n", "hello"):
        (tmp_path / "notes.txt").write_text(content)
        with pytest.raises(ValueError, match=r"notes\.txt: exists and is not a journal file of Optuna"):
            open_study(make_search(str(tmp_path), str(tmp_path / "notes.txt")))
        assert (tmp_path / "notes.txt").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("sqlite:///notes.txt", "sqlite:///notes.txt: cannot be reached or read (file is not a database)"),
        ("postgresql://me:secret@127.0.0.1:1/x", "postgresql://me:***@127.0.0.1:1/x: cannot be reached or read (Can't"),
        (
            "postgresql://me:sec:ret@h@127.0.0.1:p/x",
            "search.storage=postgresql://me:***@127.0.0.1:p/x: must have the form sqlite:///FILE",
        ),
    ],
)
def test_database_that_cannot_be_used_is_rejected_without_its_password(storage, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello\nworld\n" * 1000)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        open_study(make_search(str(tmp_path), storage))
    assert "ret" not in str(raised.value)


@pytest.mark.slow
def test_message_of_a_server_is_shown(postgresql, tmp_path):
    with pytest.raises(ValueError, match=r'cannot be reached or read \(database "postgresx" does not exist\)'):
        open_study(make_search(str(tmp_path), postgresql + "x"))


@pytest.mark.slow
def test_trials_of_other_code_have_a_warning(tmp_path, capsys):
    search = replace(make_search(str(tmp_path), str(tmp_path / "s.journal")), num_trials=2)
    for code in (code_sha256(), "0" * 64):
        trial = optuna.create_trial(
            value=0.5,
            params={"optimizer.lr": 0.2},
            distributions={"optimizer.lr": optuna.distributions.FloatDistribution(0.1, 0.9)},
            user_attrs={"code_sha256": code, "directory": str(tmp_path)},
        )
        open_study(search).add_trial(trial)
    run_search(search)
    assert "warning: other code trained 1 of the trials" in capsys.readouterr().out


def test_trials_of_another_study_in_the_folder_are_not_mixed_up(tmp_path):
    (tmp_path / "trial_0000").mkdir()
    with pytest.raises(ValueError, match="contains trials of another study"):
        open_study(make_search(str(tmp_path), str(tmp_path / "new.journal")))
