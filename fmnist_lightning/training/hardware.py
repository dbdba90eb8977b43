"""Precision and memory settings that depend on the hardware and the C library."""

import ctypes
import os
import platform


def has_fast_bfloat16(accelerator: str) -> bool:
    """Whether the device of trainer.accelerator multiplies bfloat16 faster than float32. Imports torch."""
    import torch

    if accelerator in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "mps" or (platform.system() == "Darwin" and accelerator != "cpu"):
        return False
    # a torch without this function gets float32, which is correct everywhere
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(features.get("amx_bf16") or features.get("avx512_bf16"))


def skip_gpu_queries() -> None:
    """Has torch ask for a GPU through CUDA, on a machine without one.

    Its optimizers ask at each step. Lightning sets this variable for a way that searches the disk for NVIDIA's library.
    """
    import torch

    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def tune_malloc() -> None:
    """Makes glibc keep the memory that a training step frees, for the next step; does nothing with other C libraries.

    By default it returns large blocks, such as feature maps, to the system, which zeroes their pages when the next step
    allocates them: a quarter of a CNN's step at batch size 512.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
        libc.mallopt(m_mmap_threshold, 2**30)
        libc.mallopt(m_trim_threshold, 2**30)


def trim_heap() -> None:
    """Makes glibc return free memory to the system, once; does nothing with other C libraries."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
