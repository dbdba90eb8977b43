"""Validates a configuration against this machine: devices, processes, cluster, data directory."""

import os
import shutil
import tempfile
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.devices import check_device, count_devices, num_gpus
from fmnist_lightning.config.processes import check_processes


def check_data_root(data: DictConfig) -> None:
    """Rejects a data.root that is not a directory, or that holds no data and cannot be written.

    Args:
        data: of a composed configuration; a user's own may have no root.

    Raises:
        ValueError: naming data.root.
    """
    if "root" not in data:
        return
    root, folder = data.root, Path(data.root).expanduser()
    try:
        existing = next(path for path in [folder, *folder.absolute().parents] if os.path.lexists(path))
        if not existing.is_dir():
            raise ValueError(f"data.root={root}: {existing} is not a directory; choose another data.root")
        places = ("*ubyte*", "FashionMNIST/raw/*ubyte*", "synthetic/*.npz")
        if not any(next(folder.glob(place), None) for place in places):  # with data nothing needs to be written
            with tempfile.TemporaryFile(dir=existing):
                pass
    except OSError as error:
        raise ValueError(f"data.root={root}: cannot write there ({error.strerror}); choose another data.root") from None


def check_machine(trainer: DictConfig, folder: str, launcher: str | None = None) -> None:
    """Rejects a configuration for which this machine lacks the devices, processes or cluster.

    Args:
        trainer: of a composed configuration.
        folder: hydra.run.dir, its interpolations not resolved.
        launcher: of a sweep; None for one run.

    Raises:
        ValueError: naming the override to change.
    """
    devices, num_nodes = trainer.devices, trainer.num_nodes
    devices = list(devices) if OmegaConf.is_list(devices) else devices
    on_cluster = launcher in ("slurm", "submitit_slurm")  # the jobs run on other machines
    if not on_cluster:
        check_device(trainer.accelerator, devices)
    without_gpu = trainer.accelerator == "cpu" or (num_gpus() == 0 and not on_cluster)
    if trainer.precision == "16-mixed" and without_gpu:
        raise ValueError("trainer.precision=16-mixed: needs a GPU; auto, 32-true and bf16-mixed are allowed on a CPU")
    num_devices = count_devices(trainer.accelerator, devices)
    if launcher and (trainer.strategy != "auto" or num_devices > 1 or num_nodes > 1):
        raise ValueError(
            "-m: a sweep trains on one device at a time, because each process of a run would start the whole sweep; "
            "start the runs one by one, or use trainer.strategy=auto trainer.devices=1"
        )
    if on_cluster and shutil.which("srun") is None:
        raise ValueError(
            f"hydra/launcher={launcher}: no Slurm on this machine (srun not found); start the sweep on a machine of "
            "the cluster, or use hydra/launcher=joblib"
        )
    check_processes(num_nodes, num_devices, folder)
