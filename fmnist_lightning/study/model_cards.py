"""The reference runs, the recipe's with the first seed: their model cards, and their scores on the user's photos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lightning.inference.export.model_card import TRAINING_GROUPS, describe
from fmnist_lightning.inference.load import load_run
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.photos import score_photos
from fmnist_lightning.study.plan import PlannedRun, Variant
from fmnist_lightning.study.reported import MODELS


def describe_references(runs: Mapping[PlannedRun, Run], photos: Path | None) -> dict[str, Any]:
    """The parts `reference` and `photos` of results.json.

    Args:
        runs: all runs, completed.
        photos: a directory of photos with labels.csv; None if there is none.
    """
    recipes = {model: next(run for run in runs if run.variant == Variant(model)) for model in MODELS}
    predictors = {
        model: load_run(runs[planned].folder, accelerator="cpu", precision="32-true")
        for model, planned in recipes.items()
    }
    return {
        "reference": {
            model: _card(runs[planned], planned.seed, predictors[model]) for model, planned in recipes.items()
        },
        "photos": score_photos(photos, predictors) if photos else None,
    }


def _card(run: Run, seed: int, predictor: Predictor) -> dict[str, Any]:
    summary, cfg = run.read_summary(), run.read_config()
    card = describe(run, predictor)
    del card["exported_with"]
    training = OmegaConf.create({group: cfg[group] for group in TRAINING_GROUPS if cfg.get(group)})
    return {
        "seed": seed,
        "directory": run.folder.name,
        "accuracy": summary["test"]["accuracy"],
        "parameters": summary["parameters"],
        "training": OmegaConf.to_yaml(training, resolve=True).strip(),
        "calibration": summary["calibration"],
        "card": card,
    }
