"""The page of the reproduction: its content, and its structure, which screen readers and narrow screens depend on."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fmnist_lightning.study.page import OVERVIEW, RESULTS, rewrite
from tests.study.conftest import make_page

VOID = {"meta", "img", "br", "wbr", "link"}
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(eq=False)
class Element:
    """An element, the elements within it, and the whole text within it."""

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def all(self, *tags: str) -> list["Element"]:
        """In document order; all elements if no tag is given."""
        found = []
        for child in self.children:
            found += [child] * (not tags or child.tag in tags) + child.all(*tags)
        return found


class Parser(HTMLParser):
    """Parses a page into a tree."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack = [Element("document")]
        self.feed(html)
        assert [element.tag for element in self.stack] == ["document"]  # every element is closed

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.stack[-1].children.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.stack.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make_page(folder)
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RESULTS).read_text())


@pytest.fixture(scope="module")
def page(folder: Path) -> Element:
    return Parser((folder / "report.html").read_text()).stack[0]


def test_contents_link_to_every_section(page):
    sections = [element.attributes["id"] for element in page.all("section")]
    (nav,) = page.all("nav")
    assert [link.attributes["href"] for link in nav.all("a")] == [f"#{id}" for id in sections]
    assert len(sections) == 12


def test_links_lead_to_an_element(page):
    ids = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert {link.attributes["href"] for link in page.all("a")} <= {f"#{id}" for id in ids}
    assert page.all("a")[0].text == "Skip to the results"


def test_landmarks_and_headings_are_in_order(page):
    (body,) = page.all("body")
    assert [element.tag for element in body.children] == ["a", "header", "nav", "main"]
    levels = [int(heading.tag[1]) for heading in page.all(*HEADINGS)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))
    assert all(heading.text.strip() for heading in page.all(*HEADINGS))


def test_tables_have_a_caption_and_headers_with_a_scope(page):
    captions = []
    for table in page.all("table"):
        (caption,) = table.all("caption")
        captions.append(caption.text)
        assert {header.attributes.get("scope") for header in table.all("th")} <= {"col", "row"}
        for row in table.all("tr"):
            assert row.children[0].tag == "th", caption.text
        widths = {len(row.children) for row in table.all("tr")}
        assert len(widths) == 1, caption.text
    assert len(captions) > 20
    assert all(map(str.strip, captions))


def test_narrow_screens_label_the_cells_of_stacked_rows(page):
    stacked = [table for table in page.all("table") if "stack" in (table.attributes.get("class") or "")]
    assert stacked
    for table in stacked:
        headings = [header.text for header in table.all("thead")[0].all("th")][1:]
        for row in table.all("tbody")[0].all("tr"):
            assert [cell.attributes["data-label"] for cell in row.all("td")] == headings


def test_figures_and_images_are_described_with_numbers(page, results):
    figures = [figure.attributes["aria-label"] or "" for figure in page.all("svg")]
    assert {figure.attributes["role"] for figure in page.all("svg")} == {"img"}
    assert len(figures) == len(set(figures)) == 13
    assert all(re.search(r"\d", text) for text in figures)
    for model in ("ann", "cnn"):
        accuracy = results["models"][model]["accuracy"]["mean"]
        assert any(f"accuracy {accuracy:.3f}" in text for text in figures)
        stopped = results["early_stopping"][model]["last_epoch"]
        assert any(f"epochs {min(stopped)} to {max(stopped)}" in text for text in figures)
    images = [image.attributes["alt"] or "" for image in page.all("img")]
    assert images
    assert all(re.search(r"\d", text) for text in images)


def test_each_claim_is_a_sentence_with_a_verdict_and_folded_evidence(page, results):
    claims = [element for element in page.all("div") if element.attributes.get("class") == "claim"]
    assert len(claims) == 6
    for claim, element in zip(results["claims"], claims, strict=True):
        (heading,) = element.all("h3")
        assert claim["claim"] in heading.text
        assert heading.text.strip().endswith(claim["verdict"])
        assert element.all("p")[0].text == claim["sentence"]
        (details,) = element.all("details")
        assert "open" not in details.attributes
        rows = details.all("tbody")[0].all("tr")
        for part, row in zip(claim["evidence"], rows, strict=True):
            assert part["test"] in row.text
            assert row.children[-1].text.strip().endswith(part["verdict"])


def test_values_outside_the_interval_are_marked_by_words_too(page, results):
    marked = [element.text for element in page.all("span") if element.attributes.get("class") == "hidden"]
    compared = [result["accuracy"] for result in results["models"].values()] * 2  # also in the classification report
    for result in results["models"].values():
        for row in (*result["per_class"], result["macro"], result["weighted"]):
            compared += [row[measure] for measure in ("precision", "recall", "f1")]
    outside = sum(value["within"] is False for value in compared)
    assert outside > 0
    assert sum("outside the prediction interval" in text for text in marked) == outside


def test_folded_parts_have_a_label_of_their_own(page):
    labels = []
    for details in page.all("details"):
        assert details.children[0].tag == "summary"
        labels.append(details.children[0].text.strip())
        assert "open" not in details.attributes
    assert all(labels)
    assert len(set(labels)) == len(labels) > 6


def test_early_stopping_power_law_and_choices_are_shown(page, results):
    sections = {element.attributes["id"]: element.text for element in page.all("section")}
    for model in ("ann", "cnn"):
        stopping = results["early_stopping"][model]
        assert f"ended {stopping['num_stopped']} of {len(stopping['seeds'])} runs" in sections["stopping"]
        assert f"{stopping['difference']['gap']['mean']:+.4f}" in sections["stopping"]
        law = results["power_law"][model]
        assert f"{law['doubling']['accuracy']:.4f}" in sections["sizes"]
        for row in results["choices"][model][1:]:
            assert row["choice"] in sections["choices"]
            assert f"{row['val_accuracy_difference']['mean']:+.4f}" in sections["choices"]
        assert results["reference"][model]["directory"] in sections["card"]
    assert "Not measured" in sections["card"]  # the scores on photos
    for row in results["costs"]["by_purpose"]:
        assert row["purpose"] in sections["cost"]
    assert all(run["directory"] in sections["cost"] for run in results["runs"])


def test_page_is_written_again_from_its_results(folder, results):
    data = [f"data.root={folder / 'data'}", "data.num_train=400", "data.num_test=1000"]
    page, overview = ((folder / name).read_bytes() for name in ("report.html", OVERVIEW))
    (folder / "report.html").unlink()
    assert rewrite(folder, data) == results
    assert (folder / "report.html").read_bytes() == page
    assert (folder / OVERVIEW).read_bytes() == overview
    with pytest.raises(ValueError, match="data_sha256 differs; repeat the overrides of the data"):
        rewrite(folder, [f"data.root={folder / 'other'}", "data.num_train=300", "data.num_test=1000"])


def test_results_that_are_missing_or_of_an_earlier_version_are_rejected(tmp_path, results):
    with pytest.raises(ValueError, match=r"reproduce\.train=false: .*results\.json does not exist"):
        rewrite(tmp_path, [])
    (tmp_path / RESULTS).write_text(json.dumps({key: results[key] for key in results if key != "early_stopping"}))
    with pytest.raises(ValueError, match=r"written by an earlier version of this package; reproduce the study again"):
        rewrite(tmp_path, [])
