"""The committed results of the full reproduction: README and docs show the same numbers."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads((RESULTS / "results.json").read_text())


def test_results_are_full_and_on_the_real_images(results):
    environment = results["environment"]
    assert results["size"] == "full"
    assert environment["data"] == "fashion_mnist"
    page = (RESULTS / "report.html").read_text()
    origins = (*environment["git_commits"], environment["analysis_commit"], environment["code_sha256"])
    assert all(origin in page for origin in origins)
    assert "QUICK" not in page
    assert environment.get("problem") is None
    assert environment["analysis_dirty"] is False


def test_readme_shows_the_accuracies(results):
    readme = (REPOSITORY / "README.md").read_text()
    for model, result in results["models"].items():
        accuracy = result["accuracy"]
        mean = f"{accuracy['mean']:.4f} ± {accuracy['std']:.4f}"
        low, high = accuracy["interval"]
        seconds = f"{result['fit_seconds']['mean']:.0f} s"
        row = [f"{model.upper()}, test accuracy", f"{accuracy['reported']:.2f}", mean, f"{low:.4f} to {high:.4f}"]
        assert f"| {' | '.join([*row, str(result['n']), seconds])} |" in readme


def test_readme_counts_the_verdicts(results):
    readme = " ".join((REPOSITORY / "README.md").read_text().split())
    counts = Counter(claim["verdict"] for claim in results["claims"])
    plural = {"holds": "hold", "does not hold": "do not hold", "undecided": "are undecided"}
    singular = {"undecided": "is undecided"}
    for verdict, count in counts.items():
        words = singular.get(verdict, verdict) if count == 1 else plural[verdict]
        assert f"{NUMBERS[count]} {words}" in readme


def test_headers_of_the_experiments_show_the_accuracies(results):
    for model, result in results["models"].items():
        accuracy = result["accuracy"]
        header = (REPOSITORY / "conf" / "experiment" / f"paper_{model}.yaml").read_text()
        assert f"{accuracy['mean']:.4f} ± {accuracy['std']:.4f} (mean ± std, n = {accuracy['n']}, " in header
        assert f"{result['fit_seconds']['mean']:.0f} s of training, by\n# make reproduce" in header


def test_documentation_shows_the_verdicts_and_the_commits(results):
    page = (REPOSITORY / "docs" / "reproducing-the-paper.md").read_text()
    for number, claim in enumerate(results["claims"], start=1):
        assert f"| {number} | {claim['claim']} | {claim['verdict']} |" in page
    environment = results["environment"]
    commits = (*environment["git_commits"], environment["analysis_commit"])
    for origin in (*(commit[:7] for commit in commits), environment["code_sha256"][:8]):
        assert f"`{origin}" in page


def test_results_reach_the_reported_accuracies(results):
    ann, cnn = (results["models"][model]["accuracy"] for model in ("ann", "cnn"))
    assert ann["mean"] >= 0.880
    assert cnn["mean"] >= 0.920
    assert all(c > a for a, c in zip(ann["values"], cnn["values"], strict=False))  # as many as both have


def test_results_are_small():
    assert sum(path.stat().st_size for path in RESULTS.iterdir()) < 3e6
