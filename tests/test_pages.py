"""The HTML pages in a browser: none is wider than its window, on a phone, a tablet and a desktop screen."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fmnist_lightning.evaluation.comparison import Comparison
from fmnist_lightning.evaluation.comparison_page import build_page
from fmnist_lightning.evaluation.sweep_page import sweep_files
from fmnist_lightning.runs.ranking import ranked
from fmnist_lightning.runs.sweep_page import to_page
from tests.evaluation.conftest import EPOCH, NAMES, compared_runs, make_predictions, make_report
from tests.study.conftest import make_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser
WIDTHS = (390, 800, 1400)
LONG = "/directory" + "x" * 300
OPEN = "document.querySelectorAll('details').forEach(details => details.open = true)"
# what reaches beyond the window or its own card, also within something that scrolls or cuts it off
CUT_OFF = """() => [...document.querySelectorAll("section *, header *, nav *, dl *")].filter(element => {
    const card = element.closest("section, header, nav, dl.scores > div") ?? document.body
    return element.closest(".hidden") === null
        && element.getBoundingClientRect().right > card.getBoundingClientRect().right + 1
}).map(element => `${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`)"""

HIDE_SCROLLED = "document.querySelectorAll('.scroll > *').forEach(element => element.hidden = true)"
# texts that their figure or their cell cuts off
CUT_TEXTS = """() => [...document.querySelectorAll("svg text, td, th")].filter(element => {
    const box = element.getBoundingClientRect(), figure = element.closest("svg")
    if (figure === null) return element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1
        && getComputedStyle(element.closest("thead") ?? element).position !== "absolute"
        && getComputedStyle(element).position !== "absolute"
    const frame = figure.getBoundingClientRect()
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1
}).map(element => element.textContent.trim().slice(0, 40))"""
A4_PIXELS = 688  # 210 mm without the margins of the page, 96 pixels per inch

NOTES = {"status": "failed", "error": LONG, "partial": LONG, "data_note": LONG, "overrides": [LONG]}
# by name: the arguments of make_report
REPORTS: dict[str, dict[str, Any]] = {
    "report": {"predictions": make_predictions(10_000)},
    "one epoch": {"epochs": [{"epoch": 1.0, **EPOCH}], "folder": LONG, "command": f"python {LONG}", **NOTES},
    "1000 epochs": {"epochs": [{"epoch": 1.0 + i, **EPOCH} for i in range(1000)]},
}
COMPARISONS = {"comparison of 2": 2, "comparison of 26": 26}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name."""
    folder = tmp_path_factory.mktemp("pages")
    for name, arguments in REPORTS.items():
        files = make_report(**{"predictions": make_predictions(), **arguments})
        (folder / f"{name}.html").write_text(files["report.html"])
    for name, num in COMPARISONS.items():
        (folder / f"{name}.html").write_text(make_comparison(num))
    (folder / "sweep.html").write_text(make_sweep())
    make_page(folder / "study")
    return {"study": folder / "study" / "report.html"} | {
        name: folder / f"{name}.html" for name in (*REPORTS, *COMPARISONS, "sweep")
    }


def make_comparison(num: int) -> str:
    """A page that compares runs whose settings and warnings are long."""
    runs = compared_runs(num)
    settings = {"optimizer.lr": ["0.001"] * num, LONG: [LONG] * num}
    names = {run.name for run in runs}
    told = Comparison(runs, runs[0], "the first run", settings, [runs], names, [LONG], NAMES)
    return build_page(told, torch.zeros(500, 28, 28, dtype=torch.uint8), f"python {LONG}")


def make_sweep() -> str:
    """The page of a sweep with long values, many jobs and errors."""
    scores = {"val_loss": 0.3, "val_accuracy": 0.9, "test_accuracy": 0.9, "best_epoch": 9, "epochs": 20, "seconds": 1.5}
    rank = {"monitored": "val/loss", "mode": "min", "value": 0.3, "images": (), "data_note": LONG, "partial": ""}
    rows = [
        {
            **{"job": str(i), "status": "completed", "error": LONG, "href": "x", **rank, **scores},
            "overrides": {
                "data.root": LONG,
                "optimizer.lr": str(i // 3),
                "model.hidden": LONG + str(i),
                "seed": str(i),
            },
        }
        for i in range(48)
    ]
    page = to_page(ranked(rows), LONG)
    return str(sweep_files(rows, ["optimizer.lr", "model.hidden", "seed"], page)["sweep.html"])


@pytest.mark.parametrize(
    ("name", "width"), [*product((*REPORTS, *COMPARISONS, "study", "sweep"), WIDTHS), ("study", 1200)]
)
def test_page_is_not_wider_than_its_window(name, width, browser, pages):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(pages[name].as_uri())
    page.evaluate(OPEN)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name in ("comparison of 26", "sweep"):  # the others have nothing that scrolls sideways, either
        page.evaluate(HIDE_SCROLLED)
    assert page.evaluate(CUT_OFF) == []
    if name == "study":
        assert page.evaluate(CUT_TEXTS) == []
    page.close()


def test_report_opens_without_a_request_or_an_error(browser, pages):
    page = browser.new_page()
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(pages["report"].as_uri())
    assert page.title().startswith("ANN on Fashion-MNIST: ")
    for heading in ("Training", "Classification report", "Confusion matrix", "Worst mistakes", "How it was made"):
        assert page.get_by_role("region", name=heading).get_by_role("heading", name=heading).is_visible()
    assert page.locator("img").evaluate_all("images => images.every(image => image.naturalWidth === 28)")
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_reproduction_is_printed_with_everything_that_is_folded(browser, pages):
    page = browser.new_page(viewport={"width": A4_PIXELS, "height": 900})
    page.goto(pages["study"].as_uri())
    folded, visible = page.locator("details > :not(summary)"), "all => all.map(element => element.checkVisibility())"
    assert not any(folded.evaluate_all(visible))
    page.emulate_media(media="print")
    assert all(folded.evaluate_all(visible))
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_PIXELS
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(CUT_TEXTS) == []
    page.close()


def test_screen_reader_finds_the_same_tables_on_a_phone(browser, pages):
    """Rows that are shown as blocks remain rows of a table."""
    phone, desktop = (count_roles(browser, pages["study"], width) for width in (390, 1200))
    assert phone == desktop
    assert phone["table"] > 20
    assert phone["main"] == 1


def count_roles(browser: "Browser", path: Path, width: int) -> dict[str, int]:
    """How many elements of some roles the accessibility tree has."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(path.as_uri())
    page.evaluate(OPEN)
    tools = page.context.new_cdp_session(page)
    document = tools.send("DOM.getDocument")["root"]["backendNodeId"]
    counts = {}
    for role in ("table", "columnheader", "main"):
        nodes = tools.send("Accessibility.queryAXTree", {"backendNodeId": document, "role": role})["nodes"]
        counts[role] = sum(not node["ignored"] for node in nodes)
    page.close()
    return counts
