"""A run directory as a function from images to probabilities."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_lightning.inference.load import load_run, load_runs
    from fmnist_lightning.inference.predictor import Predictor

__all__ = ["Predictor", "load_run", "load_runs"]


def __getattr__(name: str) -> Any:
    """Imports torch only once a model is loaded: the commands validate their arguments before."""
    if name in ("load_run", "load_runs"):
        from fmnist_lightning.inference import load

        return getattr(load, name)
    if name == "Predictor":
        from fmnist_lightning.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
