"""The environment of OpenMP, with which torch computes on a CPU: the number of threads, and how long they spin.

A thread that waits for the others spins, to start sooner than after a sleep. On a core that another process needs it
spins where the thread that it waits for could compute: with the defaults of OpenMP, one busy process on two cores makes
training three times as slow (docs/performance-and-precision.md).

The OpenMP runtime reads its environment once, when torch is loaded.
"""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from fmnist_lightning.config.cores import num_affinity_cores, num_cores

# torch for Linux uses GCC's libgomp (spins; 300,000 by default), others LLVM's libomp (milliseconds; 200 by default)
SPIN = {"Linux": ("GOMP_SPINCOUNT", "1000")}.get(platform.system(), ("KMP_BLOCKTIME", "1"))
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")  # each decides how to wait
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
SET_BY_PACKAGE = "FMNIST_LIGHTNING_OPENMP"  # NAME=VALUE NAME=VALUE, for the processes that this one starts


def set_openmp_variables(num_processes: int = 1, root: Path = Path("/")) -> None:
    """Sets what the user has not set; changes nothing once torch is loaded.

    Args:
        num_processes: that share the cores.
        root: as of `num_cores`.
    """
    if "torch" in sys.modules:
        return
    remove_openmp_variables()
    chosen: dict[str, str] = {}
    if not any(name in os.environ for name in SPIN_VARIABLES):
        chosen.update([SPIN])
    cores = num_cores(root)
    num_threads = max(1, cores // num_processes)
    if not any(name in os.environ for name in THREAD_VARIABLES) and num_threads < num_affinity_cores():
        chosen["OMP_NUM_THREADS"] = str(num_threads)
    if "LOKY_MAX_CPU_COUNT" not in os.environ:  # joblib's jobs, which get as many threads each as there are cores for
        chosen["LOKY_MAX_CPU_COUNT"] = str(cores)
    os.environ.update(chosen)
    os.environ[SET_BY_PACKAGE] = " ".join(f"{name}={value}" for name, value in chosen.items())


def remove_openmp_variables() -> None:
    """Removes what `set_openmp_variables` set, in this process or the one that started it."""
    for name in _chosen():
        del os.environ[name]
    os.environ.pop(SET_BY_PACKAGE, None)


def openmp_variables() -> dict[str, Any]:
    """What is set: {"variables": {name: value}, "set_by_package": [the names of those that the user has not set]}."""
    names = sorted(name for name in os.environ if name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_NUM_THREADS")))
    chosen = _chosen()
    return {
        "variables": {name: os.environ[name] for name in names},
        "set_by_package": [name for name in names if name in chosen],
    }


def _chosen() -> dict[str, str]:
    """The variables that this package set, and that still have its value."""
    pairs = (pair.partition("=") for pair in os.environ.get(SET_BY_PACKAGE, "").split())
    return {name: value for name, _, value in pairs if os.environ.get(name) == value}
