"""Can this machine run what was asked for: its devices, as many processes, the cluster. No torch here."""

import shutil

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.devices import check_device, count_devices, num_gpus
from fmnist_lightning.processes import check_processes


def check_machine(cfg: DictConfig, multirun: bool) -> None:
    """Refuses a composed configuration for which this machine has not the devices, processes or cluster.

    Args:
        cfg: composed, with Hydra's own node.
        multirun: whether a sweep was asked for.

    Raises:
        ValueError: naming the override to change.
    """
    devices, num_nodes = cfg.trainer.devices, cfg.trainer.num_nodes
    devices = list(devices) if OmegaConf.is_list(devices) else devices
    launcher = cfg.hydra.runtime.choices["hydra/launcher"]
    on_cluster = multirun and launcher in ("slurm", "submitit_slurm")  # the jobs run on other machines
    if not on_cluster:
        check_device(cfg.trainer.accelerator, devices)
    without_gpu = cfg.trainer.accelerator == "cpu" or (num_gpus() == 0 and not on_cluster)
    if cfg.trainer.precision == "16-mixed" and without_gpu:
        raise ValueError("trainer.precision=16-mixed: needs a GPU; auto, 32-true and bf16-mixed are allowed on a CPU")
    num_devices = count_devices(cfg.trainer.accelerator, devices)
    if multirun and cfg.resume is not None:
        raise ValueError(
            f"resume={cfg.resume}: one run goes on; the same -m command into its hydra.sweep.dir goes on with a sweep"
        )
    if multirun and (cfg.trainer.strategy != "auto" or num_devices > 1 or num_nodes > 1):
        raise ValueError(
            "-m: a sweep trains on one device at a time, for each process of a run would start the whole sweep again; "
            "start the runs one by one, or use trainer.strategy=auto trainer.devices=1"
        )
    if on_cluster and shutil.which("srun") is None:
        raise ValueError(
            f"hydra/launcher={launcher}: no Slurm on this machine, srun is not found; start the sweep on a machine of "
            "the cluster, or use hydra/launcher=joblib"
        )
    check_processes(num_nodes, num_devices, OmegaConf.to_yaml(cfg.hydra.run, resolve=False))
