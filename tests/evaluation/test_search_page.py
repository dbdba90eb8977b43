"""The page of a hyperparameter search: Optuna's plots of completed, pruned and failed trials; how it is on a phone."""

import re
from pathlib import Path

import optuna
import pytest

from fmnist_lightning.evaluation.search_page import search_page
from tests.test_pages import CUT_OFF, HIDE_SCROLLED

ERROR = "<b>the loss is inf</b> " + "x" * 300
PLOTS = ["History", "Intermediate values", "Importance", "Parallel coordinates", "Slices"]
LOSSES = (0.5, 0.4, 0.6, 0.9)  # the last trial is worse than the median, the next one fails
LUMINANCE = """selector => [...document.querySelectorAll(selector)].map(element => {
    const [r, g, b] = getComputedStyle(element).fill.match(/\\d+/g).map(Number)
    return (r + g + b) / 3
})"""


def make_study(num: int, direction: str = "minimize") -> optuna.Study:
    """A study of `num` trials of two epochs, and of one that fails."""

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("data.batch_size", [64, 128])
        if trial.number == num:
            trial.set_user_attr("error", ERROR)
            raise ValueError(ERROR)
        for epoch in (1, 2):
            trial.report(LOSSES[trial.number] / epoch, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("best_epoch", 2)
        return LOSSES[trial.number] / 2

    study = optuna.create_study(
        study_name="<i>ann",
        direction=direction,
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
    )
    study.optimize(objective, num + 1, catch=ValueError)
    return study


def make_page(study: optuna.Study, folder: Path) -> str:
    runs = {trial.number: folder / f"trial_{trial.number:04d}" for trial in study.trials}
    for run in runs.values():
        run.mkdir()
    command = "python -m fmnist_lightning model=ann data.root=" + "x" * 300
    return search_page(study, runs, command=command, storage="outputs/search ann/study.journal")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a search of three completed trials, a pruned and a failed one, with its page."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "search.html").write_text(make_page(make_study(len(LOSSES)), folder))
    return folder


def test_page_has_optunas_plots_the_best_trial_and_a_line_per_trial(folder):
    page = (folder / "search.html").read_text()
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Best trial", *PLOTS, "Trials", "Errors", "Browse interactively"]
    assert page.count('<svg class="figure"') == 6  # a slice for each parameter
    assert 'best"><a href="trial_0001/">1</a> best</th>' in page
    cells = re.findall(r"</th>\n<td[^>]*>(\w+)</td>\n<td>(.*?)</td>", page)
    completed = [("completed", f"{loss / 2:.4f}") for loss in LOSSES[:3]]
    assert cells == [*completed, ("pruned", "0.9000"), ("failed", "")]
    assert ">pruned</text>" in page  # the legend of the intermediate values
    assert "python -m fmnist_lightning model=ann" in page
    assert "optuna-dashboard &#39;outputs/search ann/study.journal&#39;" in page


def test_page_is_small_needs_nothing_else_and_escapes_what_it_shows(folder):
    page = (folder / "search.html").read_text()
    assert len(page) < 500_000
    assert not re.search(r"<(script|link|img)[^>]* (src|href)=", page)
    assert "<i>ann" not in page
    assert ERROR not in page


@pytest.mark.parametrize(("num", "plots"), [(0, []), (1, PLOTS[:2])])
def test_plots_for_which_there_are_too_few_trials_are_left_out(num, plots, tmp_path):
    page = make_page(make_study(num, "maximize"), tmp_path)
    headings = [*["Best trial"] * bool(num), *plots, "Trials", "Errors", "Browse interactively"]
    assert re.findall(r"<h2>(.*?)</h2>", page) == headings


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_with_legible_plots_and_a_table_that_sorts(scheme, folder, browser):
    page = browser.new_page(viewport={"width": 390, "height": 900}, color_scheme=scheme)
    page.goto((folder / "search.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    shades = page.evaluate(LUMINANCE, "svg.figure text")
    assert len(shades) > 50
    assert min(shades) > 200 if scheme == "dark" else max(shades) < 60
    heading = page.get_by_role("columnheader", name="validation loss").get_by_role("button")
    heading.focus()
    page.keyboard.press("Enter")
    order = [text.partition(" ")[0] for text in page.locator("table.sortable tbody th").all_inner_texts()]
    assert order == ["1", "0", "2", "3", "4"]
    page.evaluate(HIDE_SCROLLED)
    assert page.evaluate(CUT_OFF) == []
    page.close()
