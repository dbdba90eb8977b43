"""Validates a configuration against this machine: devices, processes, cluster, data directory."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.devices import check_device, count_devices, num_gpus
from fmnist_lightning.config.processes import check_processes


def check_data_root(data: DictConfig) -> None:
    """Rejects a data.root that holds no data and cannot be written, with a ValueError."""
    if "root" not in data:  # the user's own data
        return
    folder = Path(data.root).expanduser()
    with suppress(OSError):  # reported by check_writable
        if any(next(folder.glob(name), None) for name in ("*ubyte*", "FashionMNIST/raw/*ubyte*", "synthetic/*.npz")):
            return
    check_writable(folder, f"data.root={data.root}")


def check_writable(directory: Path, setting: str) -> None:
    """Rejects a directory that cannot be created or written; `setting` is the override KEY=VALUE that names it."""
    other = f"choose another {setting.partition('=')[0]}"
    if directory.parts[:1] == ("~",):
        raise ValueError(f"{setting}: ~ is not expanded; type {setting.replace('~', '$HOME', 1)}")
    try:
        existing = next(
            path for path in [directory, *directory.absolute().parents] if path.exists() or path.is_symlink()
        )
        if not existing.is_dir():
            raise ValueError(f"{setting}: {existing} is not a directory; {other}")
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions do not tell of quotas and read-only mounts
            file.write(bytes(2**16))  # on a full disk a file can be created, but not written
            file.flush()
    except OSError as error:
        raise ValueError(f"{setting}: cannot write there ({error.strerror}); {other}") from None


def check_machine(trainer: DictConfig, run_dir: str, launcher: str | None = None) -> None:
    """Rejects a cfg.trainer, or the launcher of a sweep, for which this machine lacks devices, processes or cluster."""
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
    check_processes(num_nodes, num_devices, run_dir)
