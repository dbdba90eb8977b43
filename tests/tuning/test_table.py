"""The rows that a search prints."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.space import override_space, read_space
from fmnist_lightning.tuning.table import Table

PARAMS = {
    "optimizer.lr": 0.00012345,
    "optimizer.weight_decay": 1.2345e-7,
    "model.dropout": 0.123456,
    "model.hidden": "[512,256]",
    "data.batch_size": 512,
}
CHOICES = {"model.hidden": ["[512,256]"], "data.batch_size": [512]}


def make_trial(number: int, state: TrialState, values: list[float], **user_attrs: object) -> FrozenTrial:
    distributions = {
        key: CategoricalDistribution(CHOICES[key]) if key in CHOICES else FloatDistribution(0, 1) for key in PARAMS
    }
    trial = create_trial(
        state=state,
        value=min(values) if state == TrialState.COMPLETE else None,
        params=PARAMS,
        distributions=distributions,
        user_attrs=user_attrs,
        intermediate_values=dict(enumerate(values, start=1)),
    )
    trial.number = number
    trial.datetime_start = datetime(2026, 1, 1)
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=3000)
    return trial


@pytest.fixture
def trials() -> list[FrozenTrial]:
    return [
        make_trial(0, TrialState.COMPLETE, [0.9, 0.3123, 0.4], best_epoch=2),
        make_trial(1, TrialState.PRUNED, [1.9, 1.8]),
        make_trial(2, TrialState.FAIL, [], error="optimizer.lr=1: the loss is nan"),
        make_trial(3, TrialState.COMPLETE, [0.9, 0.2987], best_epoch=2),
        make_trial(4, TrialState.RUNNING, [0.8]),
    ]


@pytest.fixture
def search() -> Search:
    space = override_space(read_space("ann", False, []), [], [])
    return Search("ann", "unused", Path(), space, num_trials=40)


def test_rows_fit_80_columns_without_cutting_a_value(search, trials, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(search)
    rows = [table.row(trial, trials) for trial in trials[:4]]
    lines = [table.header(), *"\n".join(rows).splitlines(), *table.final(trials)]
    assert max(map(len, lines)) <= 80
    assert rows[0].split()[:6] == ["0", "1.2e-4", "1.2e-7", "0.12", "[512,256]", "0.3123"]
    assert rows[0].endswith("2 of 3  0.2987  15.0 h")
    assert table.final(trials)[1].split()[:6] == ["3", "1.2e-4", "1.2e-7", "0.12", "[512,256]", "512"]


def test_rows_have_the_result_the_best_value_and_the_remaining_time(search, trials, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    table = Table(search)
    titles = ["trial", "lr", "weight_decay", "dropout", "hidden", "batch_size", "val/loss", "epoch", "best", "left"]
    assert table.header().split() == titles
    assert table.row(trials[1], trials).split()[-6:] == ["1.8000", "2", "pruned", "0.2987", "15.0", "h"]
    assert table.row(trials[2], trials).endswith("\n       failed: optimizer.lr=1: the loss is nan")
    final = table.final(trials)
    assert [line.split()[0] for line in final[1:3]] == ["3", "0"], "the best one first"
    assert final[-1] == "4 trials: 2 completed, 1 pruned, 1 failed"
