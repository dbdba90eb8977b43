"""The command that trains the leaderboard, quick, on synthetic images: killed, resumed, read again."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_lightning.execution.manifest import verify_manifest
from fmnist_lightning.leaderboard.table import terminal_table
from fmnist_lightning.recipes import choose_recipes, recipes
from fmnist_lightning.runs.run import Run

Start = Callable[..., "subprocess.Popen[str]"]
NAMES = ["paper_ann", "fast_cnn"]
NUM_RUNS = 4  # two seeds each


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts the command in one directory for all tests of this module."""
    folder = tmp_path_factory.mktemp("recipes")
    clean = {key: value for key, value in os.environ.items() if key not in ("FASHION_MNIST_MIRROR", "HYDRA_FULL_ERROR")}

    def begin(*arguments: str, names: str = ",".join(NAMES)) -> "subprocess.Popen[str]":
        quick = ["recipes.size=quick", f"recipes.names={names}", "recipes.folder=board", "trainer.accelerator=cpu"]
        images = ["data=synthetic", "data.num_train=10000", "data.num_test=200"]
        return subprocess.Popen(
            [sys.executable, "-m", "fmnist_lightning.recipes", *quick, *images, *arguments],
            cwd=folder,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    begin.folder = folder / "board"  # type: ignore[attr-defined]
    return begin


@pytest.fixture(scope="module")
def made(start: Start) -> tuple[Path, str]:
    """Its directory, and what it printed when it resumed after it was killed."""
    process = start()
    for line in process.stdout:
        if line.lstrip().startswith("1/"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    process = start()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return start.folder, output


@pytest.mark.slow
def test_killed_command_resumes(made):
    folder, output = made
    completed = re.search(rf"{NUM_RUNS} runs, (\d) of them already completed; \d+ at a time", output)
    assert 1 <= int(completed[1]) < NUM_RUNS
    runs = list((folder / "runs").iterdir())
    assert len(runs) == NUM_RUNS
    for run in map(Run.existing, runs):
        assert run.read_summary()["status"] == "completed"
        verify_manifest(run)


@pytest.mark.slow
def test_results_have_every_run_and_are_labelled(made):
    folder, output = made
    results = json.loads((folder / "recipes.json").read_text())
    assert [(run["recipe"], run["seed"]) for run in results["runs"]] == [(n, s) for n in NAMES for s in (100, 101)]
    assert list(results["recipes"]) == NAMES
    for run in results["runs"]:
        own = Run(folder / "runs" / run["directory"])
        summary = own.read_summary()
        assert (run["val"], run["test"]["accuracy"]) == (summary["val"], summary["test"]["accuracy"])
        assert run["fit_seconds"] == summary["fit_seconds"] > 0
        assert abs(run["flip"]["test"]["accuracy"] - run["test"]["accuracy"]) < 0.3
        assert run["flip"]["test"] != run["test"]
        assert own.read_config().data.train_fraction == 0.1
    assert {"device", "versions", "git_commits", "code_sha256", "data_sha256"} <= results["environment"].keys()
    assert terminal_table(results) in output
    assert "QUICK size" in output
    assert "NOT Fashion-MNIST" in output
    assert (folder / "recipes.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_results_of_completed_runs_are_written_again_without_training(made, start):
    folder = made[0]
    before = (folder / "recipes.json").read_bytes()
    (folder / "recipes.json").unlink()
    process = start("recipes.train=false")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert (folder / "recipes.json").read_bytes() == before
    assert "already completed" not in output


@pytest.mark.slow
def test_distilled_recipe_learns_from_runs_of_the_leaderboard(made, start):
    process = start("recipes.seeds=1", names="distilled_ann")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    results = json.loads((made[0] / "recipes.json").read_text())
    assert list(results["recipes"]) == ["distilled_ann"]
    recipe = results["recipes"]["distilled_ann"]
    assert recipe["teachers"]["num"] == 2
    assert recipe["seconds_with_teachers"] > recipe["fit_seconds"]["mean"] + recipe["teachers"]["fit_seconds"] - 0.1
    assert "with the training of its 2 teachers" in output


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("recipes.names=fast", "recipes.names=fast: must be a list of paper_ann, "),
        ("recipes.names=fast_cnn,fast_cnn", "each once"),
        ("recipes.seeds=few", "recipes.seeds=few: must be how many seeds"),
        ("recipes.size=medium", "must be one of full, quick"),
        ("recipes.seed=3", "did you mean recipes.seeds=3"),
        ("optimizer.lr=0.1", "optimizer.lr=0.1: the plan of the runs fixes this; allowed are recipes.KEY"),
        ("data=fashion", "allowed are auto, fashion_mnist, synthetic"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(argument, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        recipes([argument])


def test_recipes_are_named_with_or_without_brackets():
    assert choose_recipes("[best_ann,fast_cnn]") == choose_recipes("best_ann,fast_cnn") == ["best_ann", "fast_cnn"]


@pytest.mark.slow
def test_results_of_no_completed_run_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"recipes\.train=false: none of these runs is completed in"):
        recipes(["recipes.train=false", "recipes.names=paper_ann", f"recipes.folder={tmp_path}", "data=synthetic"])
