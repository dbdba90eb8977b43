"""Workers: what they sample, and trials that end while another worker looks for those of killed ones."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from fmnist_lightning.tuning import retries
from fmnist_lightning.tuning.retries import retry_killed
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.space import Parameter
from fmnist_lightning.tuning.storage import open_study
from fmnist_lightning.tuning.worker import make_sampler, work

SPACE = {"optimizer.lr": Parameter("interval(0.001,0.01)", 0.001, 0.01)}

LOOK = """
import pickle, sys
from fmnist_lightning.tuning.retries import retry_killed
from fmnist_lightning.tuning.storage import open_study
search = pickle.load(sys.stdin.buffer)
retry_killed(open_study(search), search)
"""


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search("s", str(tmp_path / "study.journal"), tmp_path, SPACE)


def test_searches_with_different_seeds_sample_different_values(search):
    values = []
    for seed in (0, 1, 2, 2**32 - 1):
        study = optuna.create_study()
        for number in range(10):
            study.sampler = make_sampler(replace(search, seed=seed), number)
            values.append(study.ask().suggest_float("optimizer.lr", 0, 1))
    assert len(set(values)) == len(values)


@pytest.mark.slow
def test_trial_whose_result_is_about_to_be_stored_is_not_repeated(search, tiny_overrides, monkeypatch):
    after_trial = TPESampler.after_trial

    def look_before(sampler, study, *args):  # after the trial, before its result is stored
        subprocess.run([sys.executable, "-c", LOOK], input=pickle.dumps(search), check=True)
        after_trial(sampler, study, *args)

    search = replace(search, fixed=["model=ann", *tiny_overrides])
    monkeypatch.setattr(TPESampler, "after_trial", look_before)
    work(search)
    assert [trial.state for trial in open_study(search).trials] == [TrialState.COMPLETE]


@pytest.mark.slow
def test_trial_on_other_images_is_queued_again_and_ends_its_worker(search, tiny_overrides):
    search = replace(search, fixed=["model=ann", *tiny_overrides], num_trials=1)
    work(search)
    study = open_study(search)
    data = study.user_attrs["data"]
    assert data == {key: search.run(0).read_summary()[key] for key in ("data_sha256", "split_sha256")}
    study.set_user_attr("data", data | {"data_sha256": "that of other images"})
    with pytest.raises(ValueError, match=r"=s: its trials have other images than this .*search.study=NAME"):
        work(replace(search, num_trials=2))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
    study.set_user_attr("data", data)
    work(replace(search, num_trials=2))
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == study.trials[2].params


def test_trial_that_ends_while_its_run_is_looked_at_is_not_repeated(search, monkeypatch):
    study = open_study(search)
    study.ask()

    def end_trial(run):
        open_study(search).tell(0, 0.5)
        return False

    monkeypatch.setattr(retries, "_is_locked", end_trial)
    retry_killed(study, search)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
