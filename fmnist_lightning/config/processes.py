"""How this process was launched (by Lightning on one machine, by torchrun on several), and whether it is rank zero.

RANK and similar variables may also be set for another program (a notebook within a distributed job, `srun`).
"""

import functools
import os

LAUNCHER_PID = "FMNIST_LIGHTNING_LAUNCHER_PID"  # set for the processes that Lightning launches from this one
TORCHRUN = (
    "TORCHELASTIC_RUN_ID",
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
)
# Lightning and torch each read some of these
RANK_VARIABLES = (*TORCHRUN[1:], "NODE_RANK", "JSM_NAMESPACE_RANK")


@functools.cache
def launched_by_lightning() -> bool:
    """Whether the parent process is a run of this package whose Lightning launched this process."""
    return os.environ.get(LAUNCHER_PID) == str(os.getppid()) and os.environ.get("LOCAL_RANK", "").isdecimal()


def launched_by_torchrun() -> bool:
    """Whether torchrun launched this process."""
    return all(os.environ.get(name) for name in TORCHRUN) and os.environ["RANK"].isdecimal()


def is_rank_zero() -> bool:
    """Whether this process locks and writes the run directory, and prints."""
    if launched_by_torchrun():
        return int(os.environ["RANK"]) == 0
    return not launched_by_lightning()  # Lightning launches ranks 1 and higher


def ignore_foreign_ranks() -> None:
    """Removes the ranks of other programs; call it before Lightning is imported, which reads its rank then."""
    if launched_by_torchrun() or launched_by_lightning():
        return
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)


def mark_child_processes() -> None:
    """Marks the processes that Lightning launches from this one as launched by it."""
    os.environ[LAUNCHER_PID] = str(os.getpid())


def worker_overrides() -> list[str]:
    """Overrides for a worker process of torchrun, whose log is not written to the run directory."""
    worker = launched_by_torchrun() and not is_rank_zero()
    return [f"hydra.job.name=process_{os.environ['RANK']}"] if worker else []


def check_processes(num_nodes: int, num_devices: int, run_dir: str) -> None:
    """Rejects a number of processes that differs from torchrun's, and a run directory that would differ between them.

    `num_devices` counts the processes on this machine; interpolations in `run_dir` are not resolved.
    """
    if not launched_by_torchrun():
        if num_nodes > 1:
            raise ValueError(
                f"trainer.num_nodes={num_nodes}: several machines are launched by torchrun, with a command on each "
                "(docs/multi-node-training.md); one machine has trainer.num_nodes=1"
            )
        if num_devices > 1 and os.environ.get("SLURM_PROCID", "0") != "0":
            raise ValueError(
                f"trainer.devices={num_devices}: srun started this command more than once, and each would train the "
                "whole run; use srun --ntasks=1, or torchrun for several machines (docs/multi-node-training.md)"
            )
        return
    local, machines, world = (int(os.environ[f"{name}WORLD_SIZE"]) for name in ("LOCAL_", "GROUP_", ""))
    if num_devices != local:
        raise ValueError(
            f"trainer.devices: {num_devices} of this machine, but torchrun's --nproc-per-node started {local}; "
            f"set trainer.devices={local}"
        )
    if num_nodes * local != world:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}: torchrun started {world} processes on {machines} machines, {local} on "
            f"this one; set trainer.num_nodes={machines}, and the same --nproc-per-node on each"
        )
    if world > 1 and "${now:" in run_dir:
        raise ValueError(
            "hydra.run.dir: each process that torchrun started would choose a directory by its own clock; "
            "name one for all: hydra.run.dir=outputs/NAME"
        )
