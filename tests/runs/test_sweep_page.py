"""sweep.html: links, failed jobs, mean and standard deviation over seeds, and how a browser sorts it."""

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmnist_lightning.evaluation.sweep_page import sweep_files
from fmnist_lightning.runs.sweep import Sweep
from tests.runs.test_ranking import job

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ERROR = "optimizer.lr=1e+30: <b>the loss is inf</b>"
# the best job is not of the setting with the best mean
LOSSES = {("0.1", "0"): 0.30, ("0.1", "1"): 0.50, ("0.01", "0"): 0.35, ("0.01", "1"): 0.37}


def write_job(folder: Path, name: str, summary: dict[str, Any], file: str = "report/report.html") -> None:
    path = folder / name / file
    path.parent.mkdir(parents=True)
    path.touch()
    (folder / name / "summary.json").write_text(json.dumps(summary))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two learning rates and two seeds, and of one job that failed."""
    folder = tmp_path_factory.mktemp("sweep")
    for number, ((lr, seed), loss) in enumerate(LOSSES.items()):
        overrides = ["model=ann", f"optimizer.lr={lr}", f"seed={seed}"]
        write_job(folder, f"{number}_lr{lr}+x", job(loss, overrides=overrides, epochs=3, best_epoch=2, fit_seconds=1.5))
    failed = {"status": "failed", "overrides": ["model=ann", "optimizer.lr=1e30", "seed=0"], "error": ERROR}
    write_job(folder, "4_lr1e+30", failed, "fmnist.log")
    Sweep(folder).update(sweep_files)
    return folder


def rows_of(page: str) -> list[list[str]]:
    """The texts of the cells of each line of the table of jobs."""
    table = re.findall(r"<table class=\"sortable\">.*?</table>", page, re.DOTALL)[0]
    lines = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]
    return [[html.unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in line] for line in cells]


def test_page_has_mean_and_std_before_the_jobs_of_each_setting(sweep):
    header, *rows = rows_of((sweep / "sweep.html").read_text())
    titles = ["val accuracy", "test accuracy", "best epoch", "seconds"]
    assert header == ["job", "status", "validation loss", "optimizer.lr", "seed", *titles]
    assert [row[0] for row in rows] == ["mean ± std", "2 best", "3", "mean ± std", "0", "1", "mean ± std", "4"]
    assert rows[0][1:5] == ["n = 2", "0.3600 ± 0.0141", "0.01", ""]
    assert rows[6][1] == "n = 0 of 1"


def test_job_links_to_its_report_and_a_failed_one_to_its_log(sweep):
    page = (sweep / "sweep.html").read_text()
    links = re.findall(r'<th scope="row"[^>]*><a href="([^"]*)">', page)
    assert links[0] == "2_lr0.01%2Bx/report/report.html"
    assert links[-1] == "4_lr1e%2B30/fmnist.log"
    assert "<td>optimizer.lr=1e+30: &lt;b&gt;the loss is inf&lt;/b&gt;</td>" in page
    assert "5 jobs: 4 completed, 1 failed" in page
    assert "Best by mean validation loss: " in page


def test_page_is_self_contained_and_names_what_all_jobs_share(sweep):
    page = (sweep / "sweep.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]* (src|href)=", page)
    assert page.count('<svg class="figure"') == 2
    assert re.search(r"<code>model</code></th><td>ann</td>", page)


@pytest.fixture(scope="module")
def browser_page(browser: "Browser") -> "Page":
    return browser.new_page()


@pytest.mark.browser
def test_click_on_a_heading_sorts_settings_by_their_means_and_the_jobs_of_each(sweep, browser_page):
    browser_page.goto((sweep / "sweep.html").as_uri())

    def jobs() -> list[str]:
        return browser_page.locator("table.sortable tbody th").all_inner_texts()

    heading = browser_page.get_by_role("columnheader", name="validation loss")
    heading.get_by_role("button").focus()
    browser_page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert jobs() == ["mean ± std", "2 best", "3", "mean ± std", "0", "1", "mean ± std", "4"]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert jobs() == ["mean ± std", "1", "0", "mean ± std", "3", "2 best", "mean ± std", "4"]
