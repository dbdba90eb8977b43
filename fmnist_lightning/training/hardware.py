"""What this machine has: its devices, asked of the driver, for importing torch to find out takes seconds."""

import ctypes
import functools
import platform
from pathlib import Path
from typing import Any

from fmnist_lightning.config.schema import is_list, is_whole


def check_device(accelerator: str, devices: Any = 1) -> None:
    """Refuses a device that this machine has not.

    Args:
        accelerator: as trainer.accelerator.
        devices: a number of devices, a list of their numbers, or "auto".

    Raises:
        ValueError: naming what there is.
    """
    on_mac = platform.system() == "Darwin"
    if accelerator == "cpu" or (accelerator == "auto" and num_gpus() == 0):
        if is_list(devices):
            raise ValueError(
                f"trainer.devices={list(devices)}: a CPU has no device numbers; give a number of processes"
            )
        return
    if (accelerator == "mps" and not on_mac) or (accelerator == "cuda" and on_mac) or num_gpus() == 0:
        raise ValueError(
            f"trainer.accelerator={accelerator}: no such device is in reach of this machine's driver; "
            "cpu and auto (the best there is) are allowed here"
        )
    highest = max(devices) + 1 if is_list(devices) else devices
    if is_whole(highest) and highest > num_gpus():
        raise ValueError(f"trainer.devices={devices}: this machine has {num_gpus()} GPU{'s' * (num_gpus() > 1)}")


def count_devices(accelerator: str, devices: Any) -> int:
    """How many devices of this machine train; arguments as those of check_device."""
    if devices == "auto":
        return 1 if accelerator == "cpu" else max(num_gpus(), 1)
    return len(devices) if is_list(devices) else int(devices)


@functools.cache
def num_gpus() -> int:
    """How many GPUs trainer.accelerator=gpu could use, asked of the driver: importing torch takes seconds."""
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


def computes_bfloat16(accelerator: str) -> bool:
    """Whether the device that trainer.accelerator names multiplies bfloat16 faster than float32. Imports torch."""
    import torch

    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "mps" or (platform.system() == "Darwin" and accelerator != "cpu"):
        return False
    # a torch too old to say gets float32, which is right everywhere
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(features.get("amx_bf16") or features.get("avx512_bf16"))


def keep_freed_memory() -> None:
    """Has glibc keep the memory that a training step frees, for the next step; elsewhere does nothing.

    By default it hands each block of tens of megabytes, such as the maps of a convolution, back to the system, which
    clears page after page when the next step asks for it again: a quarter of a CNN's step at batch 512.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        libc.mallopt(m_mmap_threshold, 2**30)
        libc.mallopt(m_trim_threshold, 2**30)


def give_back_freed_memory() -> None:
    """Has glibc hand the memory that is free back to the system, once; elsewhere does nothing."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
