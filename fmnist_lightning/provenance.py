"""Where the numbers of a run come from: device, versions, commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fmnist_lightning import __version__

VERSIONS = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "tensorboard",
)


def provenance(device: torch.device, precision: str) -> dict[str, Any]:
    """What a summary says of the machine and of the code.

    Args:
        device: that trains.
        precision: as trainer.precision.
    """
    commit, dirty = _git()
    return {
        "device": _name(device),
        "precision": precision,
        "versions": {
            "fmnist_lightning": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in VERSIONS},
        },
        "git_commit": commit,
        "git_dirty": dirty,
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"{platform.processor()} GPU"
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this package runs from, and whether files differ from it."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None, None
    try:
        commit, status = (
            subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(status)
