"""What the faults share: a server that runs commands, runs that nothing disturbed, and the table of what befell runs.

`make faults` sets FAULTS=long: more kills, every operation.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from fmnist_lightning.runs.run import Run

LONG = os.environ.get("FAULTS") == "long"


class Answer(NamedTuple):
    status: int
    output: str
    seconds: float


class Server:
    """Runs commands one after the other; see server.py."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            env=os.environ | {"COLUMNS": "200"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self,
        cwd: Path,
        *arguments: str,
        seconds: float | None = None,
        signal: int = signal.SIGKILL,
        operation: int | tuple[int, ...] = (),
        named: str = "",
        inside: str = "",
        largest_file: int = 0,
        copies: int = 1,
        **env: str,
    ) -> Answer:
        """Runs the command; a signal may be sent after some seconds, or at the n-th operations on files.

        Of several copies at once the answer has the first status that is not 0, and all outputs.
        """
        outputs = [cwd / f"output{i or ''}.txt" for i in range(copies)]
        order = {"cwd": str(cwd), "arguments": arguments, "outputs": list(map(str, outputs)), "env": env}
        order |= {"seconds": seconds, "signal": int(signal), "inside": inside}
        order |= {"named": named, "operations": [operation] if isinstance(operation, int) else operation}
        assert self.process.stdin and self.process.stdout
        print(json.dumps(order | {"largest_file": largest_file}), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        status = next(filter(None, answer["statuses"]), 0)
        return Answer(status, "".join(path.read_text(errors="replace") for path in outputs), answer["seconds"])


@pytest.fixture(scope="session")
def serve() -> Iterator[Server]:
    server = Server()
    yield server
    assert server.process.stdin
    with server.process:
        server.process.stdin.close()


def overrides(data_root: Path, model: str) -> list[str]:
    """A short run with dropout and augmentation, a kill in which is seldom at the same place twice."""
    # such a scheduler has Lightning make the loader before a checkpoint is read
    cnn = ["model.filters=[4,8]", "model.head=[8]", "scheduler=one_cycle", "callbacks=ema", "callbacks.ema.decay=0.9"]
    small = ["model.hidden=[16]"] if model == "ann" else cnn
    data = ["data=synthetic", "data.num_train=400", "data.num_test=100", "data.batch_size=32", f"data.root={data_root}"]
    more = ["trainer.max_epochs=4", "data.augment=[flip,crop,erase]", "callbacks.checkpoint.every_n_train_steps=5"]
    return [f"model={model}", *small, *data, *more, "trainer.accelerator=cpu", "hydra.run.dir=run"]


def complete(model: str, serve: Server, data_root: Path, folder: Path) -> tuple[list[str], Run, float]:
    """A command, the run that it makes when nothing disturbs it, and how long that takes in seconds."""
    typed = overrides(data_root, model)
    answer = serve(folder, *typed)
    assert answer.status == 0, answer.output
    return typed, Run(folder / "run"), answer.seconds


@pytest.fixture(scope="session")
def undisturbed_ann(serve: Server, data_root: Path, tmp_path_factory) -> tuple[list[str], Run, float]:
    return complete("ann", serve, data_root, tmp_path_factory.mktemp("ann"))


@pytest.fixture(scope="session")
def undisturbed_cnn(serve: Server, data_root: Path, tmp_path_factory) -> tuple[list[str], Run, float]:
    return complete("cnn", serve, data_root, tmp_path_factory.mktemp("cnn"))


@pytest.fixture(params=["ann", "cnn"])
def undisturbed(request) -> tuple[list[str], Run, float]:
    """Of either model."""
    run: tuple[list[str], Run, float] = request.getfixturevalue(f"undisturbed_{request.param}")
    return run


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if "seconds" not in tag]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def assert_same_result(run: Run, expected: Run) -> None:
    """The same bits: weights, optimizer, files of numbers, scores, TensorBoard's curves."""
    assert run.metrics_csv.read_bytes() == expected.metrics_csv.read_bytes()
    assert run.predictions_csv.read_bytes() == expected.predictions_csv.read_bytes()
    ours, theirs = run.read_summary(), expected.read_summary()
    for name in ("status", "epochs", "best_epoch", "monitored", "val", "test", "data_sha256", "split_sha256"):
        assert ours[name] == theirs[name], name
    for name in ("best.ckpt", "last.ckpt"):
        one, other = (torch.load(r.checkpoints / name, weights_only=True) for r in (run, expected))
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
            assert_equal(one[key], other[key])
        for key in ("current_model_state", "averaging_state"):  # with callbacks=ema
            assert_equal(one.get(key), other.get(key))
        for key in ("generators", "epoch_totals"):
            assert_equal(one["processes"][0][key], other["processes"][0][key])
    assert scalars(run.folder) == scalars(expected.folder)


def assert_equal(one: Any, other: Any) -> None:
    """Nested values are equal, tensors bit by bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


@pytest.fixture
def recovers(request) -> Callable[[], AbstractContextManager[None]]:
    """Counts a fault, and whether what must hold after it does; a test that counts none is one fault."""
    told: list[tuple[str, bool]] = request.node.user_properties  # which reach the table from other processes too

    @contextmanager
    def counted() -> Iterator[None]:
        told.append(("recovered", False))
        yield
        told[-1] = ("recovered", True)

    return counted


@pytest.fixture
def empty(tmp_path: Path) -> Callable[[], Path]:
    """Empties and returns the folder to run in."""

    def clean() -> Path:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return tmp_path

    return clean


def pytest_terminal_summary(terminalreporter) -> None:
    if not LONG:
        return
    table: dict[str, list[bool]] = defaultdict(list)  # by test: whether the fault did no harm, each time
    for report in itertools.chain(*terminalreporter.stats.values()):
        if getattr(report, "when", None) == "call" and not report.skipped:
            name = report.nodeid.partition("::test_")[2].partition("[")[0].replace("_", " ")
            table[name] += [recovered for _, recovered in report.user_properties] or [report.passed]
    terminalreporter.write_line("| behaviour | faults injected | recovered | lost |\n|---|---|---|---|")
    for name, outcomes in sorted(table.items()):
        lost = outcomes.count(False)
        terminalreporter.write_line(f"| {name} | {len(outcomes)} | {len(outcomes) - lost} | {lost} |")
