"""What docs/results/recipes.json says, the page and the recipes' headers say."""

import json
from typing import Any

import pytest

from fmnist_lightning.leaderboard.plan import RECIPES
from fmnist_lightning.leaderboard.table import header_lines, markdown_table, notes
from tests.conftest import REPOSITORY

PUBLISHED = REPOSITORY / "docs/results/recipes.json"
ADVICE = "run: python docs/scripts/leaderboard.py"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return json.loads(PUBLISHED.read_text()) if PUBLISHED.exists() else {"recipes": {}}


@pytest.mark.parametrize("name", RECIPES)
def test_header_of_a_recipe_has_the_published_numbers(name, published):
    header = (REPOSITORY / f"conf/experiment/{name}.yaml").read_text()
    if name in published["recipes"]:
        assert header_lines(published, name) in header, ADVICE
    assert header.count("by make recipes") == (name in published["recipes"]), ADVICE


def test_page_has_the_published_table(published):
    page = (REPOSITORY / "docs/leaderboard.md").read_text()
    table = markdown_table(published) if published["recipes"] else ""
    assert f"<!-- table -->\n{table}\n" in page, ADVICE


def test_page_describes_every_recipe():
    page = (REPOSITORY / "docs/leaderboard.md").read_text()
    assert [name for name in RECIPES if f"`{name}`" not in page] == []


def test_published_results_are_complete(published):
    if not published["recipes"]:
        pytest.skip("nothing is published yet")
    assert (published["size"], notes(published)) == ("full", [])
    assert published["recipes"].keys() == set(RECIPES)
    for recipe in published["recipes"].values():
        assert recipe["seeds"] == [100, 101, 102, 103, 104]
    picture = PUBLISHED.with_suffix(".png")
    assert picture.stat().st_size < 150_000
