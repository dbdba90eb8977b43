"""Fashion-MNIST experiments: PyTorch Lightning modules composed by Hydra configs.

From Python: `load_run(directory)` returns the predictor of a run, `train(cfg, directory)` trains one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_lightning.inference import load_run
    from fmnist_lightning.training.run import train

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load_run", "train"]


def __getattr__(name: str) -> Any:
    """Imports torch only once a function is used: the commands validate their arguments before."""
    if name == "load_run":
        from fmnist_lightning.inference import load_run

        return load_run
    if name == "train":
        from fmnist_lightning.training.run import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
