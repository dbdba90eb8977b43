"""What docs/results/recipes.json says, the page and the recipes' headers say."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_lightning.leaderboard.plan import PAPER, RECIPES
from fmnist_lightning.leaderboard.table import header_lines, markdown_table, notes
from tests.conftest import REPOSITORY
from tests.leaderboard.conftest import make_results

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
        if name not in PAPER:  # whose header also has the numbers of make reproduce
            assert header.count("# Measured: ") == 1
    assert header.count("by make recipes") == (name in published["recipes"]), ADVICE


def test_page_has_the_published_table(published):
    page = (REPOSITORY / "docs/leaderboard.md").read_text()
    table = markdown_table(published) if published["recipes"] else ""
    assert f"<!-- table -->\n{table}\n" in page, ADVICE


def test_script_publishes_and_replaces_what_it_published(tmp_path):
    for folder in ("docs/scripts", "docs/results", "conf/experiment", "new"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"conf/experiment/{name}.yaml" for name in RECIPES]
    for name in ("docs/scripts/leaderboard.py", "docs/leaderboard.md", *names):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    (tmp_path / "new/recipes.png").write_bytes(b"png")
    for num in (3, 5):
        results = make_results(num)
        (tmp_path / "new/recipes.json").write_text(json.dumps(results))
        publish(tmp_path)
        assert json.loads((tmp_path / "docs/results/recipes.json").read_text()) == results
        page = (tmp_path / "docs/leaderboard.md").read_text()
        assert page.count(f"<!-- table -->\n{markdown_table(results)}\n") == 1
        assert page.count("| `best_cnn` | 422,154 |") == 1
        for name, path in zip(RECIPES, names, strict=True):
            text = (tmp_path / path).read_text()
            assert f"{header_lines(results, name)}defaults:" in text
            assert text.count("by make recipes") == 1


def publish(repository: Path) -> None:
    script = [sys.executable, str(repository / "docs/scripts/leaderboard.py"), str(repository / "new")]
    subprocess.run(script, check=True, capture_output=True, timeout=60)


def test_page_describes_every_recipe():
    page = (REPOSITORY / "docs/leaderboard.md").read_text()
    assert [name for name in RECIPES if f"`{name}`" not in page] == []


def test_published_results_are_complete_or_the_page_says_so(published):
    assert (published["size"], notes(published)) == ("full", [])
    page = (REPOSITORY / "docs/leaderboard.md").read_text()
    missing = set(RECIPES) - published["recipes"].keys()
    assert not missing or f"{', '.join(f'`{name}`' for name in sorted(missing))} is missing" in page
    seeds = [recipe["seeds"] for recipe in published["recipes"].values()]
    assert all(each == list(range(100, 100 + len(each))) for each in seeds)
    assert {len(each) for each in seeds} == {5} or "recipes with n below 5 lack seeds" in page
    picture = PUBLISHED.with_suffix(".png")
    assert picture.stat().st_size < 150_000
