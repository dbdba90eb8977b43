"""Fashion-MNIST experiments: PyTorch Lightning modules composed by Hydra configs.

From Python: `load_run(directory)` returns the predictor of a run, `train(compose(*overrides))` trains one.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fmnist_lightning.config.openmp import set_openmp_variables

if TYPE_CHECKING:
    from fmnist_lightning.config.from_python import compose
    from fmnist_lightning.inference import load_run, load_runs
    from fmnist_lightning.training.from_python import train

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "compose", "load_run", "load_runs", "train"]

_MODULES = {
    "compose": "fmnist_lightning.config.from_python",
    "load_run": "fmnist_lightning.inference",
    "load_runs": "fmnist_lightning.inference",
    "train": "fmnist_lightning.training.from_python",
}


def __getattr__(name: str) -> Any:
    """Imports torch only once a function is used: the commands validate their arguments before."""
    if name in _MODULES:
        set_openmp_variables()
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
