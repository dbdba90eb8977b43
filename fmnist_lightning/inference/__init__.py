"""A run directory as a function from images to probabilities."""

from fmnist_lightning.inference.load import load_run, load_runs
from fmnist_lightning.inference.predictor import Predictor

__all__ = ["Predictor", "load_run", "load_runs"]
