"""The committed results of the full reproduction: README and docs show the same numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "docs" / "results"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return json.loads((RESULTS / "results.json").read_text())


def test_results_are_full_and_on_the_real_images(results):
    environment = results["environment"]
    assert results["size"] == "full"
    assert environment["data"] == "fashion_mnist"
    page = (RESULTS / "report.html").read_text()
    assert all(commit in page for commit in (*environment["git_commits"], environment["code_sha256"]))
    assert "QUICK" not in page


def test_readme_shows_the_accuracies(results):
    readme = (REPOSITORY / "README.md").read_text()
    for model, result in results["models"].items():
        accuracy = result["accuracy"]
        accuracy.setdefault("reported", accuracy.get("printed"))  # as version 0.1 named it
        mean = f"{accuracy['mean']:.4f} ± {accuracy['std']:.4f}"
        low, high = accuracy["interval"]
        seconds = f"{result['fit_seconds']['mean']:.0f} s"
        row = [f"{model.upper()}, test accuracy", f"{accuracy['printed']:.2f}", mean, f"{low:.4f} to {high:.4f}"]
        assert f"| {' | '.join([*row, str(result['n']), seconds])} |" in readme


def test_documentation_shows_the_verdicts_and_the_commits(results):
    page = (REPOSITORY / "docs" / "reproducing-the-paper.md").read_text()
    for number, claim in enumerate(results["claims"], start=1):
        assert f"| {number} | {claim['claim']} | {claim['verdict']} |" in page
    environment = results["environment"]
    for origin in (*(commit[:7] for commit in environment["git_commits"]), environment["code_sha256"][:8]):
        assert f"`{origin}" in page


def test_results_reach_the_reported_accuracies(results):
    ann, cnn = (results["models"][model]["accuracy"] for model in ("ann", "cnn"))
    assert ann["mean"] >= 0.880
    assert cnn["mean"] >= 0.920
    assert all(c > a for a, c in zip(ann["values"], cnn["values"], strict=True))


def test_results_are_small():
    assert sum(path.stat().st_size for path in RESULTS.iterdir()) < 3e6
