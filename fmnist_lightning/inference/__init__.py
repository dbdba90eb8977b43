"""A run directory as a function from images to probabilities."""

from fmnist_lightning.inference.predictor import Predictor, load_run

__all__ = ["Predictor", "load_run"]
