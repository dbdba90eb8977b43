"""The provenance of a run: device, versions, commit, fingerprints of code and configuration."""

import hashlib
import os
import platform
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning import __version__
from fmnist_lightning.config.openmp import openmp_variables

if TYPE_CHECKING:  # a sweep is validated before torch is imported
    import torch

VERSIONS = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "tensorboard")
# config is left out, as the composed configuration has its own fingerprint, and so are runs (files), study and
# benchmarking: a sweep whose code changed there keeps its completed jobs
_PACKAGES = ("data", "models", "training", "inference", "evaluation")


def code_sha256() -> str:
    """A fingerprint of the code that a run's results depend on, by which a sweep knows that its jobs are outdated."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (root / package).glob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def config_sha256(cfg: DictConfig) -> str:
    """A fingerprint of a composed configuration, resolved: resume=auto and sweeps find a run by it."""
    keys = [str(key) for key in cfg if key not in ("hydra", "resume")]
    text = OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, keys), resolve=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def timestamp() -> str:
    """The local time with its offset from UTC, such as 2025-12-31 23:59:59+01:00."""
    return datetime.now().astimezone().isoformat(" ", "seconds")


def provenance(device: "torch.device", precision: str) -> dict[str, Any]:
    """The entries of a summary about the machine (the training device, trainer.precision) and the code."""
    import torch

    commit, dirty = git_state()
    num = torch.get_num_threads()
    threads = f", {num} thread{'s' * (num > 1)}" if device.type == "cpu" else ""
    return {
        "device": device_name(device) + threads,
        "openmp": {"threads": num, **openmp_variables()},
        "precision": precision,
        "versions": versions(),
        "code_sha256": code_sha256(),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the libraries that results depend on."""
    own = {"fmnist_lightning": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in VERSIONS}


def device_name(device: "torch.device") -> str:
    """The product name of the device."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"{platform.processor()} GPU"
    return _processor()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def git_state() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this package runs from, and whether there are uncommitted changes."""
    here = Path(__file__).resolve().parent.parent.parent
    if not (here / ".git").exists():
        return None, None
    # a git hook sets GIT_DIR, which names another repository
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    options: dict[str, Any] = {"cwd": here, "env": env, "capture_output": True, "encoding": "utf-8", "check": True}
    try:
        commit, status = (
            subprocess.run(["git", *command], **options).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(status)
