"""Runs the command again and again in processes of their own, each a fork of one that has imported everything.

A line of JSON in is one command, how many times at once, and the fault; a line of JSON out is how they ended.
The processes are real ones and are really killed. They only save the seconds of importing torch, and of drawing:
figures are one picture, which is written to disk as any other, and charts in pages are empty.
"""

import gc
import importlib.util
import io
import json
import os
import random
import resource
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import lightning.pytorch
import sklearn.metrics
import torch.utils.tensorboard
from matplotlib.figure import Figure
from PIL import Image

import fmnist_lightning.evaluation.report
import fmnist_lightning.evaluation.sweeps
import fmnist_lightning.evaluation.tensorboard
import fmnist_lightning.training.run  # noqa: F401 - what a run imports
from fmnist_lightning.__main__ import main

IMPORTED = (lightning.pytorch, sklearn.metrics, torch.utils.tensorboard)
COMMAND = importlib.util.find_spec("fmnist_lightning.__main__")
WRITES = {"os.rename", "os.remove", "os.chmod", "os.mkdir", "os.link", "os.truncate"}


def draw_one_picture() -> None:
    """Has every PNG be the same 40 kB of noise, and every SVG be empty."""
    buffer = io.BytesIO()
    Image.frombytes("L", (200, 200), random.Random(0).randbytes(200 * 200)).save(buffer, "png")

    def savefig(figure: Figure, file: IO[Any], format: str = "png", **options: object) -> None:
        file.write('<svg viewBox="0 0 1 1"></svg>' if format == "svg" else buffer.getvalue())

    Figure.savefig = savefig


def signal_at_operations(numbers: list[int], named: str, inside: str, signal_: int) -> None:
    """Sends this process a signal right before its n-th operations on files, counted from 1.

    Args:
        numbers: of the operations.
        named: only those, such as "os.rename last.ckpt"; empty for all.
        inside: the folder below which the files are.
        signal_: its number.
    """
    done = 0

    def count(name: str) -> None:
        nonlocal done
        if named not in ("", name):
            return
        done += 1
        if done in numbers:
            Path("operation.txt").write_text(name)
            os.kill(os.getpid(), signal_)

    def watch(event: str, arguments: tuple) -> None:
        paths = [os.fsdecode(a) for a in arguments[:2] if isinstance(a, str | bytes | os.PathLike)]
        if not any(inside in path for path in paths):
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in WRITES or writes:
            count(f"{event} {Path(paths[-1]).name}")

    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        count("fsync, before")
        fsync(descriptor)
        count("fsync, after")

    os.fsync = counted_fsync
    sys.addaudithook(watch)


def child(order: dict, output_file: str) -> None:
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    output = os.open(output_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if order["largest_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    if order["operations"]:
        signal_at_operations(order["operations"], order["named"], order["inside"], order["signal"])
    sys.argv = ["fmnist_lightning", *order["arguments"]]
    sys.modules["__main__"].__spec__ = COMMAND  # by which Lightning launches the further processes of a run
    status = 0
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


draw_one_picture()
gc.freeze()  # the collector in a child would copy every page of it
for line in sys.stdin:
    order = json.loads(line)
    started = time.monotonic()
    pids = []
    for output_file in order["outputs"]:  # all of them at once
        pid = os.fork()
        if pid == 0:
            child(order, output_file)
        pids.append(pid)
    ended = threading.Event()

    def strike(order: dict = order, pids: list[int] = pids, ended: threading.Event = ended) -> None:
        if not ended.wait(order["seconds"]):
            for pid in pids:
                os.kill(pid, order["signal"])

    if order["seconds"] is not None:
        threading.Thread(target=strike, daemon=True).start()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    ended.set()
    print(json.dumps({"statuses": statuses, "seconds": time.monotonic() - started}), flush=True)
