"""Loggers whose package is an extra of fmnist_lightning."""

import importlib.util
from collections.abc import Mapping
from typing import Any

EXTRAS = {  # by the class that needs it
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
}


def check_loggers(loggers: Mapping[str, Any]) -> None:
    """Rejects an entry of cfg.logger whose package is not installed."""
    for name, logger in loggers.items():
        extra = EXTRAS.get(str(logger.get("_target_"))) if isinstance(logger, Mapping) else None
        if extra and importlib.util.find_spec(extra) is None:
            raise ValueError(f"logger={name}: not installed; pip install 'fmnist_lightning[{extra}]'")
