"""Which process of a run this is, and did torchrun start as many as the configuration says. No torch here.

On one machine Lightning starts the later processes. On several torchrun starts all, on each machine its own, and
tells them by environment variables.
"""

import os


def is_later() -> bool:
    """Whether another process, the first one of this run, writes the folder and speaks to the user."""
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def by_torchrun() -> bool:
    """Whether torchrun started this process, by the variable that torch and Lightning go by."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def quiet_overrides() -> list[str]:
    """Overrides of Hydra's for a later process that torchrun started: it starts with the first one, not after it.

    Lightning passes the same to those that it starts. Else two processes would write Hydra's files at a time, and
    write them over those of an older run before the first process has refused its folder.
    """
    later = by_torchrun() and is_later()
    return ["hydra.output_subdir=null", f"hydra.job.name=process_{os.environ['RANK']}"] if later else []


def check_processes(num_nodes: int, num_devices: int, folder: str) -> None:
    """Refuses a number of processes that is not torchrun's, and a folder on which they would not agree.

    Args:
        num_nodes: as trainer.num_nodes.
        num_devices: processes on this machine, as trainer.devices has them.
        folder: hydra.run.dir, with its interpolations.

    Raises:
        ValueError: naming the override to change.
    """
    if not by_torchrun():
        if num_nodes > 1:
            raise ValueError(
                f"trainer.num_nodes={num_nodes}: several machines train through torchrun, with a command on each "
                "(README.md, Several machines); one machine has trainer.num_nodes=1"
            )
        return
    here, machines, world = (int(os.environ[f"{name}WORLD_SIZE"]) for name in ("LOCAL_", "GROUP_", ""))
    if num_devices != here:
        raise ValueError(
            f"trainer.devices: {num_devices} of this machine, where torchrun's --nproc-per-node started {here}; "
            f"set trainer.devices={here}"
        )
    if num_nodes * here != world:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}: torchrun started {world} processes on {machines} machines, {here} on "
            f"this one; set trainer.num_nodes={machines}, and the same --nproc-per-node on each"
        )
    if world > 1 and "${now:" in folder:
        raise ValueError(
            "hydra.run.dir: each process that torchrun started would name a folder by its own clock; "
            "name one for all: hydra.run.dir=outputs/NAME"
        )
