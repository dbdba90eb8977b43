"""Which devices this machine has, according to the driver: importing torch to find out takes seconds."""

import ctypes
import functools
import platform
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fmnist_lightning.config.constraints import is_int, is_list
from fmnist_lightning.config.cores import num_cores


def check_device(accelerator: str, devices: Any = 1, key: str = "trainer.accelerator") -> None:
    """Rejects an accelerator, which was typed as `key`, and devices that this machine lacks, with a ValueError."""
    on_mac = platform.system() == "Darwin"
    if accelerator == "cpu" or (accelerator == "auto" and num_gpus() == 0):
        if is_list(devices):
            raise ValueError(f"trainer.devices={list(devices)}: a CPU has no device indices; set a number of processes")
        most = max(2 * num_cores(), 8)  # each process takes about 1 GB of memory
        if is_int(devices) and devices > most:
            raise ValueError(f"trainer.devices={devices}: must be at most {most} processes on the CPUs of this machine")
        return
    if (accelerator == "mps" and not on_mac) or (accelerator == "cuda" and on_mac) or num_gpus() == 0:
        raise ValueError(
            f"{key}={accelerator}: no such device according to this machine's driver; "
            "cpu and auto (the best available) are allowed here"
        )
    highest = max(devices) + 1 if is_list(devices) else devices
    if is_int(highest) and highest > num_gpus():
        raise ValueError(f"trainer.devices={devices}: this machine has {num_gpus()} GPU{'s' * (num_gpus() > 1)}")


def count_devices(accelerator: str, devices: Any) -> int:
    """The number of this machine's devices that trainer.accelerator and trainer.devices select."""
    if devices == "auto":
        return 1 if accelerator == "cpu" else max(num_gpus(), 1)
    return len(devices) if is_list(devices) or OmegaConf.is_list(devices) else int(devices)


@functools.cache
def num_gpus() -> int:
    """The number of GPUs that trainer.accelerator=gpu can use, according to the driver."""
    if platform.system() == "Darwin":
        return int(platform.machine() == "arm64")
    if Path("/dev/kfd").exists():  # AMD's ROCm, which torch addresses as CUDA
        return max(1, len(list(Path("/dev/dri").glob("renderD*"))))
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
