"""Measures the variants: each repeat of each variant in a process of its own, taking turns."""

import multiprocessing
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console

from fmnist_lightning.config.compose import compose_config
from fmnist_lightning.config.devices import num_gpus
from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.openmp import remove_openmp_variables

NAMES = ("project", "lightning_default", "plain_loop", "compiled", "openmp_default")
DEFAULT_OPENMP = ("lightning_default", "openmp_default")  # variants without config/openmp.py
PARTS = ("input", "step", "epoch")
STEPS = 20  # training steps in one timing of the step alone


def choose_variants(typed: str | None) -> list[str]:
    """The names in a comma list; all that this machine benefits from if it is None.

    Raises:
        ValueError: an unknown or repeated name.
    """
    if typed is None:  # compiling pays off where it saves kernel launches
        return list(NAMES[:4] if num_gpus() and platform.system() != "Darwin" else NAMES[:3])
    names = typed.split(",")
    for name in names:
        if name not in NAMES or names.count(name) > 1:
            raise ValueError(f"variants={typed}: must be a comma list of {', '.join(NAMES)}, each once")
    return names


def compare_variants(names: Sequence[str], overrides: list[str], images: int, repeats: int) -> dict[str, Any]:
    """Measures each variant `repeats` times: all of them once, then all of them again.

    Args:
        names: of the variants.
        overrides: of the run.
        images: how many to train and validate on.
        repeats: how often.

    Returns:
        {machine, variants: {name: {precision, openmp, images, input, step, epoch (seconds of each repeat), peak_mb}}}.

    Raises:
        ValueError: a variant cannot run, or its process was killed.
    """
    machine: dict[str, Any] = {}
    variants: dict[str, dict[str, Any]] = {}
    with Console(stderr=True).status("") as status:
        for repeat in range(1, repeats + 1):
            for name in names:
                status.update(f"{name}: repeat {repeat} of {repeats}")
                measured = in_new_process(name, overrides, images)
                machine = machine or measured["machine"]
                variant = variants.setdefault(name, {key: measured[key] for key in ("precision", "openmp", "images")})
                for part in PARTS:
                    variant.setdefault(part, []).append(measured["seconds"][part])
                variant["peak_mb"] = max(variant.get("peak_mb", 0), measured["peak_mb"])
    return {"machine": machine, "variants": variants}


def in_new_process(name: str, overrides: list[str], images: int) -> dict[str, Any]:
    """`measure` in a process of its own: no variant finds the memory or the threads of another.

    Raises:
        ValueError: the variant cannot run, or its process was killed.
    """
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        return pool.submit(measure, name, overrides, images).result()
    except BrokenProcessPool:
        raise ValueError(f"variants={name}: its process ended, out of memory or killed") from None
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown()


def measure(name: str, overrides: list[str], images: int) -> dict[str, Any]:
    """Times the parts of one variant, each after a warm-up of the same length.

    Args:
        name: of the variant.
        overrides: of the run.
        images: how many to train and validate on.

    Returns:
        {seconds: by part, images: how many images a part takes, precision, openmp, peak_mb, machine}.

    Raises:
        ValueError: the variant cannot run.
    """
    with _no_output(), tempfile.TemporaryDirectory() as folder:
        try:
            return _measure(name, overrides, images, Path(folder))
        except (ValueError, RuntimeError, OSError) as error:
            raise ValueError(format_error(error)) from None


@contextmanager
def _no_output() -> Iterator[None]:
    """The progress bar of Lightning's defaults is drawn, but not shown."""
    with Path(os.devnull).open("w", encoding="utf-8") as devnull, redirect_stdout(devnull), redirect_stderr(devnull):
        yield


def _measure(name: str, overrides: list[str], images: int, folder: Path) -> dict[str, Any]:
    if name in DEFAULT_OPENMP:
        remove_openmp_variables()  # before torch is imported

    import lightning.pytorch as pl
    import torch
    from hydra.utils import instantiate

    from fmnist_lightning.benchmarking.lightning_default import LightningDefault
    from fmnist_lightning.benchmarking.project import Compiled, PlainLoop, Project
    from fmnist_lightning.benchmarking.timing import peak_mb, seconds_of
    from fmnist_lightning.runs.provenance import provenance
    from fmnist_lightning.training.build import build_model, choose_precision
    from fmnist_lightning.training.hardware import tune_malloc

    if name != "lightning_default":
        tune_malloc()
    cfg = compose_config([*overrides, "~callbacks.early_stopping"])
    pl.seed_everything(cfg.seed, verbose=False)
    data = instantiate(cfg.data, _convert_="all")
    data.setup()
    fraction = min(1.0, images / sum(len(data.labels[stage]) for stage in ("train", "val")))
    for stage in ("train", "val"):
        num = round(fraction * len(data.labels[stage]))
        data.images[stage], data.labels[stage] = data.images[stage][:num], data.labels[stage][:num]
    on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    precision = choose_precision(cfg, build_model(cfg))
    classes = dict(zip(NAMES, (Project, LightningDefault, PlainLoop, Compiled, Project), strict=True))
    variant = classes[name](cfg, data, precision, device, folder)

    def read_input() -> None:
        for batch in variant.batches():
            _ = batch

    seconds = {"input": seconds_of(read_input)}
    batch = next(variant.batches())
    variant.model.train()

    def take_steps() -> None:
        for _ in range(STEPS):
            variant.step(batch)

    seconds["step"] = seconds_of(take_steps)
    _, seconds["epoch"] = variant.time_epochs(2)  # the first one is the warm-up
    num_train, num_val = len(data.labels["train"]), len(data.labels["val"])
    machine = {
        "model": type(variant.model).__name__.lower(),
        "data": data.dataset_info["data"],
        "images": [num_train, num_val],
        **provenance(device, precision),
    }
    return {
        "seconds": seconds,
        "images": {"input": num_train, "step": STEPS * min(data.batch_size, num_train), "epoch": num_train + num_val},
        "precision": variant.precision,
        "openmp": machine.pop("openmp"),
        "peak_mb": round(peak_mb()),
        "machine": machine,
    }
