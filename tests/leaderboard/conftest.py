"""Results as recipes.json has them, without training: accuracies and seconds of the order that is expected."""

import itertools
from typing import Any

import pytest

from fmnist_lightning.leaderboard.results import describe_recipe

EXPECTED = {  # model, parameters, test accuracy, seconds
    "paper_ann": ("ann", 109_578, 0.8834, 12.0),
    "paper_cnn": ("cnn", 422_154, 0.9275, 140.0),
    "fast_cnn": ("cnn", 422_154, 0.9230, 22.0),
    "cnn_5_epochs": ("cnn", 422_154, 0.9300, 27.0),
    "cnn_20_epochs": ("cnn", 422_154, 0.9360, 95.0),
    "best_cnn": ("cnn", 422_154, 0.9400, 1100.0),
    "best_ann": ("ann", 109_578, 0.9030, 40.0),
    "distilled_ann": ("ann", 109_578, 0.9100, 60.0),
}
SPREAD = (-0.002, -0.001, 0.0, 0.001, 0.002)  # over the seeds
ENVIRONMENT = {"device": "AMD EPYC, 2 threads", "data_note": None, "openmp": {"threads": 2}}


def make_run(name: str, seed: int, spread: float) -> dict[str, Any]:
    model, parameters, accuracy, seconds = EXPECTED[name]
    return {
        "recipe": name,
        "seed": seed,
        "val": {"loss": 0.2, "accuracy": accuracy + 0.003},
        "test": {"loss": 0.2, "accuracy": accuracy + spread},
        "flip": {"test": {"loss": 0.2, "accuracy": accuracy + spread + 0.001}},
        "epochs": 5,
        "best_epoch": 5,
        "fit_seconds": seconds * (1 + spread),
        "parameters": parameters,
        "model": model,
        "precision": "32-true",
    }


def make_results(num: int = 5) -> dict[str, Any]:
    runs = {name: [make_run(name, 100 + i, SPREAD[i]) for i in range(num)] for name in EXPECTED}
    teachers = [{"fit_seconds": 95.0}] * 3
    recipes = {
        name: describe_recipe(name, own, teachers if name == "distilled_ann" else []) for name, own in runs.items()
    }
    return {
        "size": "full",
        "note": None,
        "environment": ENVIRONMENT,
        "recipes": recipes,
        "runs": list(itertools.chain(*runs.values())),
    }


@pytest.fixture
def results() -> dict[str, Any]:
    """Of all recipes, five seeds."""
    return make_results()
