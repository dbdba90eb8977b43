"""Pruning: which trials the pruners stop, and what the run of a pruned trial contains."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.scored import read_scored_summary
from fmnist_lightning.training.run import train
from fmnist_lightning.training.search_trial import SearchTrial
from fmnist_lightning.tuning.search import PRUNERS, Search
from fmnist_lightning.tuning.worker import make_pruner


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_pruner_stops_hopeless_trials_but_neither_the_first_ones_nor_after_one_epoch(name):
    search = Search("s", "unused", Path(), {}, pruner=name, max_epochs=9)
    study = optuna.create_study(pruner=make_pruner(search))

    def objective(trial: optuna.Trial) -> float:
        level = trial.suggest_float("level", 0, 1)
        for epoch in range(1, search.max_epochs + 1):
            trial.report(level + 1 / epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return level

    for number in range(20):
        study.enqueue_trial({"level": 0.1 if number % 2 else 0.9})
    study.optimize(objective, n_trials=20)
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert bool(pruned) == (name != "none")
    assert {trial.params["level"] for trial in pruned} <= {0.9}
    if name == "median":
        assert min(trial.number for trial in pruned) == 6, "the first trial after five that is hopeless"
        assert {len(trial.intermediate_values) for trial in pruned} == {2}


def test_pruned_run_has_its_metrics_and_checkpoints_and_says_so(composed, tmp_path):
    reported = {}

    def report(epoch: int, value: float) -> bool:
        reported[epoch] = value
        return epoch == 2

    trial = SearchTrial("val/loss", report)
    summary = train(
        composed("model=ann", "trainer.max_epochs=4"), tmp_path / "run", [], varied=["model.hidden"], trial=trial
    )
    run = Run(tmp_path / "run")
    assert summary == run.read_summary()
    assert summary["status"] == "pruned"
    losses = {int(row["epoch"]): row["val/loss"] for row in run.read_metrics()}
    assert losses == reported
    assert list(losses) == [1, 2]
    assert summary["monitored"] == {"metric": "val/loss", "mode": "min", "value": min(losses.values())}
    assert losses[summary["best_epoch"]] == min(losses.values())
    assert run.best_checkpoint.is_file()
    assert run.last_checkpoint.is_file()
    assert "test" not in summary
    assert not run.predictions_csv.exists()
    assert not run.report.exists()
    events = b"".join(path.read_bytes() for path in run.folder.glob("events.out.tfevents.*"))
    assert b"model.hidden" in events, "the keys of the search are columns of HParams"
    with pytest.raises(ValueError, match=r"its status is pruned; resume=.*run resumes it"):
        read_scored_summary(run)
