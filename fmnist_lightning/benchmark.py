"""Times this machine: python -m fmnist_lightning.benchmark [repeats=5] [images=60000] [output=FILE.json] [OVERRIDES].

Runs this project, the conventional way with Lightning and a bare loop of PyTorch side by side, each in a process of
its own, taking turns repeat by repeat after a warm-up, and prints one table. OVERRIDES are those of a run: model=ann,
data.batch_size=512 (256 here unless given), trainer.precision=32-true. arms=project,bare chooses.
"""

import itertools
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table

from fmnist_lightning.config.errors import format_error, run_command
from fmnist_lightning.config.validate import check, composed, read_arguments
from fmnist_lightning.runs.files import atomic_write

OWN = {"repeats": "5", "images": "60000", "output": None, "arms": None}
PARTS = ("input", "step", "epoch")
STEPS = 20  # training steps in one timing of the step alone


def main() -> None:
    """Runs the command."""
    run_command(benchmark, __doc__)


def benchmark(arguments: Sequence[str]) -> dict[str, Any]:
    """Measures, prints the table and writes the JSON file.

    Args:
        arguments: as typed.

    Returns:
        What the file holds: arms by name with {input, step, epoch} (seconds of each repeat; `images`, how many images
        one took; peak_mb, peak memory of its process), and machine, versions, settings.

    Raises:
        ValueError: an argument or override that cannot be, by name.
    """
    own = read_arguments([a for a in arguments if a.partition("=")[0] in OWN], OWN)
    overrides = ["data.batch_size=256", *(a for a in arguments if a.partition("=")[0] not in OWN)]
    check(overrides)
    if composed(overrides).trainer.precision == "16-mixed":
        raise ValueError("trainer.precision=16-mixed: steps are timed without scaled gradients; type another precision")
    repeats, images = _whole("repeats", own["repeats"]), _whole("images", own["images"], least=100)
    names = _arm_names(own["arms"])
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, name, overrides, images, repeats), daemon=True)
        process.start()
        there.close()
        workers[name] = (process, here)
    try:
        result = _take_turns({name: pipe for name, (_, pipe) in workers.items()}, repeats)
    finally:
        for process, pipe in workers.values():
            pipe.close()  # whereupon it ends
            process.join(10)
            process.kill()
    result["settings"] = {"overrides": overrides, "repeats": repeats}
    output = Path(own["output"] or f"outputs/benchmark-{result['machine']['model']}.json")
    output.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(output, json.dumps(result, indent=2) + "\n")
    _print(result)
    print(f"written: {output}")
    return result


def _whole(key: str, typed: str | None, least: int = 1) -> int:
    if typed is None or not typed.isdecimal() or int(typed) < least:
        raise ValueError(f"{key}={typed}: must be a whole number, at least {least}")
    return int(typed)


def _arm_names(typed: str | None) -> list[str]:
    from fmnist_lightning.config.devices import num_gpus

    known = ["project", "conventional", "bare", "compiled"]
    if typed is None:  # compiling pays where it saves kernel launches
        return known if num_gpus() and platform.system() != "Darwin" else known[:3]
    names = typed.split(",")
    for name in names:
        if name not in known or names.count(name) > 1:
            raise ValueError(f"arms={typed}: must be a comma list of {', '.join(known)}, each once")
    return names


def _take_turns(pipes: dict[str, Connection], repeats: int) -> dict[str, Any]:
    """Has the arms work one at a time, each `repeats` times after a warm-up, part by part."""
    arms: dict[str, dict[str, Any]] = {name: _receive(name, pipe) for name, pipe in pipes.items()}
    machine, *_ = [arm.pop("machine") for arm in arms.values()]
    with Console(stderr=True).status("") as status:
        for part, repeat, (name, pipe) in itertools.product(PARTS, range(repeats + 1), pipes.items()):
            status.update(f"{part}, {name}: " + (f"repeat {repeat} of {repeats}" if repeat else "warm-up"))
            pipe.send("go")
            seconds = _receive(name, pipe)
            arms[name].setdefault(part, []).extend([seconds] if repeat else [])
    for name, pipe in pipes.items():
        arms[name]["peak_mb"] = round(_receive(name, pipe))
    return {"machine": machine, "arms": arms}


def _receive(name: str, pipe: Connection) -> Any:
    try:
        answer = pipe.recv()
    except EOFError:
        raise ValueError(f"arms={name}: its process ended, out of memory or killed") from None
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _serve(pipe: Connection, name: str, overrides: list[str], images: int, repeats: int) -> None:
    """One arm, in its own process: waits for its turn, works, answers with the seconds."""

    @contextmanager
    def turn() -> Iterator[None]:
        pipe.recv()
        started = time.perf_counter()
        yield
        _synchronise()
        pipe.send(time.perf_counter() - started)

    # the progress bar of the conventional way is drawn, but not shown
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
        tempfile.TemporaryDirectory() as folder,
        suppress(EOFError, ConnectionError),  # the parent is done, or gives up
    ):
        try:
            arm, facts = _set_up(name, overrides, images, Path(folder))
            pipe.send(facts)
            for _ in range(repeats + 1):
                with turn():
                    for batch in arm.batches():
                        _ = batch
            batch = next(arm.batches())
            arm.model.train()
            for _ in range(repeats + 1):
                with turn():
                    for _ in range(STEPS):
                        arm.step(batch)
            arm.epochs(repeats + 1, turn)
            pipe.send(_peak_mb())
        except (ValueError, RuntimeError, OSError) as error:
            pipe.send(format_error(error))
        pipe.recv()


def _set_up(name: str, overrides: list[str], images: int, folder: Path) -> tuple[Any, dict[str, Any]]:
    import lightning.pytorch as pl
    import torch
    from hydra.utils import instantiate

    from fmnist_lightning.benchmarking import variants as arms
    from fmnist_lightning.runs.provenance import provenance
    from fmnist_lightning.training.build import build_model, choose_precision
    from fmnist_lightning.training.hardware import tune_malloc

    if name != "conventional":
        tune_malloc()
    cfg = composed([*overrides, "~callbacks.early_stopping"])
    pl.seed_everything(cfg.seed, verbose=False)
    data = instantiate(cfg.data, _convert_="all")
    data.setup()
    share = min(1.0, images / sum(len(data.labels[stage]) for stage in ("train", "val")))
    for stage in ("train", "val"):
        num = round(share * len(data.labels[stage]))
        data.images[stage], data.labels[stage] = data.images[stage][:num], data.labels[stage][:num]
    on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    precision = choose_precision(cfg, build_model(cfg))
    arm = {"project": arms.Project, "conventional": arms.Conventional, "bare": arms.Bare, "compiled": arms.Compiled}[
        name
    ](cfg, data, precision, device, folder)
    num_train, num_val = len(data.labels["train"]), len(data.labels["val"])
    machine = {
        "model": type(arm.model).__name__.lower(),
        "data": data.dataset_info["data"],
        "images": [num_train, num_val],
    }
    machine |= provenance(device, precision)
    size = {"input": num_train, "step": STEPS * min(data.batch_size, num_train), "epoch": num_train + num_val}
    return arm, {"machine": machine, "precision": arm.precision, "images": size}


def _synchronise() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def _print(result: dict[str, Any]) -> None:
    machine, arms = result["machine"], result["arms"]
    table = Table(
        title=f"{machine['model']} on {machine['device']}: {' '.join(result['settings']['overrides'])}",
        caption=f"images per second, medians of {result['settings']['repeats']}; project / arm: seconds of an epoch, "
        "training and validation, median (lowest - highest)",
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE,
    )
    table.add_column("arm")
    for column in ("precision", *PARTS, "s / epoch", "project / arm", "peak MB"):
        table.add_column(column, justify="right")
    for name, arm in arms.items():
        speeds = [f"{arm['images'][part] / statistics.median(arm[part]):,.0f}" for part in PARTS]
        ratio = _ratio(arms["project"]["epoch"], arm["epoch"]) if "project" in arms else ""
        seconds = f"{statistics.median(arm['epoch']):.3f}"
        table.add_row(name, arm["precision"], *speeds, seconds, ratio, str(arm["peak_mb"]))
    console = Console(highlight=False)
    console.width = max(console.width, 105)
    console.print(table)


def _ratio(ours: list[float], theirs: list[float]) -> str:
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"


if __name__ == "__main__":
    main()
