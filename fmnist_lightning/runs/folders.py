"""Validates the directory of a new run or sweep: it is writable, overwrites nothing, and its teachers exist."""

from pathlib import Path

from omegaconf import DictConfig

from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.patterns import find_folders
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep_folder import check_sweep


def check_folder(launch: Launch) -> None:
    """Rejects a directory that cannot be written or contains another run or sweep, and teachers that do not exist."""
    if launch.cfg.resume not in (None, "auto"):
        return  # the run has its own directory
    if "distillation" in launch.cfg.callbacks:
        find_folders(launch.cfg.callbacks.distillation.teachers, "callbacks.distillation.teachers")
    key = "hydra.sweep.dir" if launch.multirun else "hydra.run.dir"
    folder = Path(launch.sweep_dir if launch.multirun else launch.cfg.hydra.run.dir)
    check_writable(folder, f"{key}={folder}")
    if launch.multirun:
        check_sweep(launch)
    elif launch.cfg.resume is None:
        reject_existing_run(launch.cfg)


def reject_existing_run(cfg: DictConfig) -> None:
    """Rejects a hydra.run.dir that contains a run, which a new run must not overwrite."""
    if is_rank_zero():  # which creates the directory; the other processes find it
        Run(cfg.hydra.run.dir).reject_existing("hydra.run.dir")
