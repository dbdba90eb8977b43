"""Validates the directory of a new run or sweep: it is writable, and contains nothing that would be overwritten."""

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep_folder import check_sweep


def check_folder(launch: Launch) -> None:
    """Rejects a directory that cannot be written, or that contains another run or sweep.

    Raises:
        ValueError: naming the override to change.
    """
    if launch.cfg.resume not in (None, "auto"):
        return  # the run has its own directory
    key = "hydra.sweep.dir" if launch.multirun else "hydra.run.dir"
    folder = Path(launch.sweep_dir if launch.multirun else launch.cfg.hydra.run.dir)
    try:
        existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions do not tell of quotas and read-only mounts
            file.write(bytes(2**16))  # on a full disk a file can be created, but not written
            file.flush()
        if launch.multirun:
            check_sweep(launch)
        elif launch.cfg.resume is None:
            reject_existing_run(launch.cfg)
    except OSError as error:
        raise ValueError(f"{key}={folder}: cannot write there ({error.strerror}); choose another {key}") from None


def reject_existing_run(cfg: DictConfig) -> None:
    """Rejects a hydra.run.dir that contains a run, which a new run must not overwrite.

    Raises:
        ValueError: saying how to resume the run there.
    """
    folder = Path(cfg.hydra.run.dir)
    if Run(folder).summary_json.exists() and is_rank_zero():
        more = "" if Run(folder).read_status() == "completed" else f", or resume it with resume={folder}"
        raise ValueError(
            f"hydra.run.dir={folder}: already contains a run; not overwritten. Choose another hydra.run.dir{more}"
        )
