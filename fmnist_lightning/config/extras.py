"""Launchers, loggers and commands whose package is an extra of fmnist_lightning."""

import importlib.util
from collections.abc import Mapping
from typing import Any

EXTRAS = {  # by launcher, logger class or package: the module that it needs, and the extra that installs it
    "joblib": ("hydra_plugins.hydra_joblib_launcher", "sweep"),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "sweep"),
    "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "sweep"),
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "sweep"),
    "lightning.pytorch.loggers.MLFlowLogger": ("mlflow", "mlflow"),
    "lightning.pytorch.loggers.WandbLogger": ("wandb", "wandb"),
    "onnx": ("onnx", "export"),
    "onnxscript": ("onnxscript", "export"),
    "onnxruntime": ("onnxruntime", "export"),
    "gradio": ("gradio", "demo"),
    "cv2": ("cv2", "demo"),
    "optuna": ("optuna", "search"),
    "postgresql": ("pg8000", "search"),
}


def check_installed(name: str, typed: str) -> None:
    """Rejects an entry of EXTRAS whose package is not installed; `typed` is the argument that chose it."""
    if name not in EXTRAS:
        return
    module, extra = EXTRAS[name]
    try:
        is_installed = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is its parent
        is_installed = False
    if not is_installed:
        raise ValueError(f"{typed}: not installed; pip install 'fmnist_lightning[{extra}]'")


def check_loggers(loggers: Mapping[str, Any]) -> None:
    """Rejects an entry of cfg.logger whose package is not installed."""
    for name, logger in loggers.items():
        if isinstance(logger, Mapping):
            check_installed(str(logger.get("_target_")), f"logger={name}")
