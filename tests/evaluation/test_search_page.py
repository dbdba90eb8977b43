"""The page of a hyperparameter search: Optuna's plots of completed, pruned and failed trials."""

import re
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution  # noqa: E402
from optuna.trial import TrialState, create_trial  # noqa: E402

from fmnist_lightning.evaluation.search_page import search_page  # noqa: E402

SPACE = {
    "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "data.batch_size": CategoricalDistribution([64, 128]),
}
ERROR = "<b>the loss is inf</b>"
PLOTS = ["History", "Intermediate values", "Importance", "Parallel coordinates", "Slices"]


def make_study(*states: TrialState, mode: str = "minimize") -> "optuna.Study":
    """A study with a trial of each state, whose values fall."""
    study = optuna.create_study(study_name="<i>ann", direction=mode)
    for i, state in enumerate(states):
        values = {} if state == TrialState.FAIL else {1: 0.8 - i / 100, 2: 0.5 - i / 100}
        study.add_trial(
            create_trial(
                state=state,
                value=values.get(2),
                params={"optimizer.lr": 1e-3 * (i + 1), "data.batch_size": (64, 128)[i % 2]},
                distributions=SPACE,
                intermediate_values=values,
                user_attrs={"best_epoch": 2} if values else {"error": ERROR},
            )
        )
    return study


def runs_of(study: "optuna.Study", folder: Path) -> dict[int, Path]:
    runs = {trial.number: folder / f"trial_{trial.number:04d}" for trial in study.trials}
    for run in runs.values():
        run.mkdir()
    return runs


def test_page_has_optunas_plots_the_best_trial_and_a_line_per_trial(tmp_path):
    study = make_study(*[TrialState.COMPLETE] * 3, TrialState.PRUNED, TrialState.FAIL)
    page = search_page(study, runs_of(study, tmp_path), command="python -m fmnist_lightning model=ann")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Best trial", *PLOTS, "Trials"]
    assert page.count('<svg class="figure"') == 6  # a slice for each parameter
    assert 'best"><a href="trial_0002/">2</a> best</th>' in page
    states = re.findall(r"</th>\n<td[^>]*>(\w+)</td>", page)
    assert states == ["completed", "completed", "completed", "pruned", "failed"]
    assert ">pruned</text>" in page  # the legend of the intermediate values
    assert "python -m fmnist_lightning model=ann" in page


def test_page_is_small_needs_nothing_else_and_escapes_what_it_shows(tmp_path):
    study = make_study(*[TrialState.COMPLETE] * 3, TrialState.FAIL)
    page = search_page(study, runs_of(study, tmp_path), dashboard="optuna-dashboard sqlite:///search.db")
    assert len(page) < 500_000
    assert not re.search(r"<(script|link|img)[^>]* (src|href)=", page)
    assert "<i>ann" not in page
    assert ERROR not in page
    assert "optuna-dashboard sqlite:///search.db" in page


@pytest.mark.parametrize(("num", "plots"), [(0, []), (1, PLOTS[:2])])
def test_plots_for_which_there_are_too_few_trials_are_left_out(num, plots, tmp_path):
    study = make_study(*[TrialState.COMPLETE] * num, TrialState.FAIL, mode="maximize")
    page = search_page(study, runs_of(study, tmp_path))
    assert re.findall(r"<h2>(.*?)</h2>", page) == [*["Best trial"] * bool(num), *plots, "Trials"]
