"""The page of the reproduction: its structure, which screen readers and narrow screens depend on."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fmnist_lightning.study.page import OVERVIEW, RESULTS, rewrite
from tests.study.conftest import make_page


class Elements(HTMLParser):
    """All elements of a page: (tag, attributes, text up to the next tag)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[list[Any]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append([tag, dict(attrs), ""])

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2] += data

    def named(self, *tags: str) -> list[tuple[dict[str, str], str]]:
        return [(attributes, text) for tag, attributes, text in self.found if tag in tags]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make_page(folder)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RESULTS).read_text())


@pytest.fixture(scope="module")
def elements(folder: Path) -> Elements:
    return Elements((folder / "report.html").read_text())


def test_contents_link_to_every_section(elements):
    sections = [attributes["id"] for attributes, _ in elements.named("section")]
    links = [attributes["href"] for attributes, _ in elements.named("a")]
    assert links == [f"#{id}" for id in sections]
    assert len(sections) == 13


def test_ids_are_unique(elements):
    ids = [attributes["id"] for _, attributes, _ in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_table_headers_have_a_scope(elements):
    scopes = [attributes.get("scope") for attributes, _ in elements.named("th")]
    assert set(scopes) == {"col", "row"}


def test_figures_and_images_are_described(elements, results):
    figures = [attributes["aria-label"] for _, attributes, _ in elements.found if attributes.get("role") == "img"]
    assert len(figures) == len(set(figures)) == 9
    accuracy = results["models"]["cnn"]["accuracy"]["mean"]
    assert any(f"accuracy {accuracy:.3f}" in text for text in figures)
    images = [attributes["alt"] for attributes, _ in elements.named("img")]
    assert images
    assert all(images)


def test_values_outside_the_interval_are_marked_by_words_too(elements, results):
    marked = [text for attributes, text in elements.named("span") if attributes.get("class") == "hidden"]
    compared = [result["accuracy"] for result in results["models"].values()] * 2  # also in the classification report
    for result in results["models"].values():
        for row in (*result["per_class"], result["macro"], result["weighted"]):
            compared += [row[measure] for measure in ("precision", "recall", "f1")]
    outside = sum(value["within"] is False for value in compared)
    assert outside > 0
    assert sum("outside the prediction interval" in text for text in marked) == outside


def test_runs_and_checksums_are_folded(elements, results):
    folded = [attributes for attributes, _ in elements.named("details")]
    assert len(folded) == len(results["claims"]) + 2
    assert not any("open" in attributes for attributes in folded)
    directories = [
        text for attributes, text in elements.named("th") if text in {r["directory"] for r in results["runs"]}
    ]
    assert len(directories) == len(results["runs"])


def test_page_is_written_again_from_its_results(folder, results):
    data = [f"data.root={folder / 'data'}", "data.num_train=400", "data.num_test=1000"]
    page, overview = ((folder / name).read_bytes() for name in ("report.html", OVERVIEW))
    (folder / "report.html").unlink()
    assert rewrite(folder, data) == results
    assert (folder / "report.html").read_bytes() == page
    assert (folder / OVERVIEW).read_bytes() == overview
    with pytest.raises(ValueError, match="data_sha256 differs; repeat the overrides of the data"):
        rewrite(folder, [f"data.root={folder / 'other'}", "data.num_train=300", "data.num_test=1000"])


def test_results_without_runs_are_rejected(tmp_path, results):
    with pytest.raises(ValueError, match=r"reproduce\.train=false: .*results\.json does not exist"):
        rewrite(tmp_path, [])
    (tmp_path / RESULTS).write_text(json.dumps({key: results[key] for key in results if key != "runs"}))
    with pytest.raises(ValueError, match=r"without the curves of the runs; reproduce the study again"):
        rewrite(tmp_path, [])
