"""What is printed of a run, on a terminal and in a file: stages, header, progress, why training ended, next steps."""

import os
import re
import shlex
import signal
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Timer

from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer
from fmnist_lightning.training.fit import fit
from fmnist_lightning.training.outcome import print_outcome
from fmnist_lightning.training.progress import TITLES, EpochProgress
from fmnist_lightning.training.state import TrainingState

ANN = ["model=ann", "model.hidden=[16]", "logger=none", "~callbacks.early_stopping"]
EPOCH = re.compile(r"^ *[0-9]+/[0-9]+ .*$", re.MULTILINE)


class Record(pl.Callback):
    """The bar's total, and its count after each epoch, right after the progress callback updated it."""

    def __init__(self, progress):
        self.progress, self.total, self.counts = progress, None, []

    def on_train_start(self, *args):
        (task,) = self.progress.bar.tasks
        self.total = task.total
        self.counts.append(task.completed)

    def on_train_epoch_end(self, *args):
        self.counts.append(self.progress.bar.tasks[0].completed)


def count(cfg, folder, *callbacks, checkpoint=None):
    """The bar's total, and its count at the start of training and after each epoch."""
    trainer = build_trainer(cfg, Run(folder), "32-true")
    progress = EpochProgress()
    trainer.callbacks.append(progress)
    record = Record(progress)
    callbacks = [TrainingState(), record, *callbacks]
    fit(trainer, build_model(cfg), instantiate(cfg.data, _convert_="all"), callbacks, checkpoint)
    return record.total, record.counts


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Standard output that says that it is a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


@pytest.mark.parametrize(
    ("overrides", "total", "counts"),
    [
        ([], 10, [0, 5, 10]),
        (["trainer.accumulate_grad_batches=4"], 10, [0, 5, 10]),
        (["+trainer.val_check_interval=2"], 10, [0, 5, 10]),
        (["trainer.limit_train_batches=3"], 6, [0, 3, 6]),
        (["data.batch_size=20"], 32, [0, 16, 32]),
        (["+trainer.max_steps=7"], 7, [0, 5, 7]),
        (["+trainer.max_steps=4", "trainer.accumulate_grad_batches=4"], 10, [0, 5, 10]),
        (["+trainer.max_steps=3", "trainer.accumulate_grad_batches=4"], 9, [0, 5, 9]),
    ],
)
def test_progress_counts_batches_up_to_its_total(overrides, total, counts, composed, tmp_path, terminal):
    assert count(composed(*ANN, *overrides), tmp_path) == (total, counts)


class Stop(pl.Callback):
    """Stops training as Ctrl-C or another signal does, before a batch of an epoch."""

    def __init__(self, epoch, batch, number=signal.SIGTERM):
        self.at, self.number = (epoch, batch), number

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.at:
            raise Interrupted(self.number)


@pytest.mark.parametrize("stop", [(1, 0, 5), (1, 4, 9)])  # at the end of an epoch, and after 4 of its 5 batches
def test_progress_of_a_resumed_run_starts_where_it_stopped(stop, composed, tmp_path, terminal):
    cfg = composed(*ANN, "callbacks.checkpoint.every_n_train_steps=3")
    epoch, batch, completed = stop
    assert count(cfg, tmp_path, Stop(epoch, batch)) == (10, [0, 5])
    last = Run(tmp_path).last_checkpoint
    assert count(cfg, tmp_path, checkpoint=last) == (10, [completed, 10])


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy", "train/accuracy"])
def test_progress_marks_each_epoch_that_is_the_best_so_far(metric, composed, tmp_path, capsys):
    monitor = f"callbacks.best_checkpoint.monitor={metric}"
    count(composed(*ANN, monitor, "optimizer.lr=0.5", "trainer.max_epochs=9"), tmp_path)
    values = [row[metric] for row in Run(tmp_path).read_metrics()]
    signs = [-value if metric.endswith("loss") else value for value in values]
    expected = [sign > max(signs[:i], default=float("-inf")) for i, sign in enumerate(signs)]
    shown = capsys.readouterr().out
    assert ["*" in line for line in EPOCH.findall(shown)] == expected
    assert not all(expected)
    stage, measure = metric.split("/")
    words = ("lowest" if measure == "loss" else "highest", "validation" if stage == "val" else "training", measure)
    assert re.search(rf"^\* +{' '.join(words)} so far; the epoch with the last \* is tested$", shown, re.MULTILINE)
    assert f"trainer.max_epochs=9 reached; best epoch: {signs.index(max(signs)) + 1}\n" in shown


def test_header_names_what_is_trained_before_the_first_epoch(composed, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = [
        "scheduler=one_cycle",
        "optimizer.lr=0.004",
        "data.augment=true",
        "model.label_smoothing=0.1",
        "callbacks.best_checkpoint.mode=min",
    ]
    folder = tmp_path / "outputs" / "run"
    folder.mkdir(parents=True)
    count(composed(*ANN[:3], *more), folder)
    lines = capsys.readouterr().out.partition(TITLES)[0].splitlines()
    rows = {line[:10].strip(): line[11:] for line in lines}
    assert rows["model"] == "ANN, 12,746 parameters"
    assert rows["data"] == "synthetic images, NOT Fashion-MNIST, augmentation: flip, crop"
    assert rows["loss"] == "cross-entropy, label smoothing 0.1"
    assert rows["split"] == "320 training, 80 validation, 100 test images"
    assert re.fullmatch(r"cpu \(.+\), 1 thread", rows["device"])
    assert rows["precision"] == "32-true"
    assert rows["optimizer"] == "Adam, learning rate 0.004, OneCycleLR"
    assert rows["batch size"] == "64, 5 steps per epoch"
    assert rows["epochs"] == "at most 2, early stopping with patience 5 on val/loss"
    assert rows["run"] == str(Path("outputs", "run"))
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("size", "steps"), [(320, "1 step"), (319, "1 step"), (160, "2 steps"), (106, None)])
def test_a_batch_size_with_few_steps_per_epoch_has_a_warning(size, steps, composed, tmp_path, capsys):
    count(composed(*ANN, f"data.batch_size={size}", "trainer.max_epochs=1"), tmp_path)
    warnings = re.findall(r"^warning: (.*);$", capsys.readouterr().out, re.MULTILINE)
    assert warnings == ([f"data.batch_size={size} gives {steps} per epoch"] if steps else [])


class Late(pl.Callback):
    """Ends trainer.max_time in the first epoch."""

    def on_train_batch_end(self, trainer, *args):
        (timer,) = (callback for callback in trainer.callbacks if isinstance(callback, Timer))
        timer._duration = 0


PATIENCE = [*ANN[:3], "callbacks.early_stopping.patience=2"]


@pytest.mark.parametrize(
    ("overrides", "callbacks", "expected"),
    [
        ([*ANN], [], "training ended: trainer.max_epochs=2 reached; best epoch: 2"),
        (
            [*PATIENCE, "optimizer.lr=0.5", "trainer.max_epochs=30"],
            [],
            r"early stopping: no better val/loss for 2 epochs; best epoch: \d+",
        ),
        (
            [*PATIENCE, "+callbacks.early_stopping.stopping_threshold=9"],
            [],
            r"early stopping: Stopping threshold reached: val/loss = \d\.\d+ < 9.*; best epoch: 1",
        ),
        ([*ANN, "+trainer.max_steps=7"], [], "training ended in epoch 2: trainer.max_steps=7 reached; best epoch: 2"),
        ([*ANN, "+trainer.max_time=01:00:00:00"], [Late()], "training ended in epoch 1: trainer.max_time reached; .*"),
        ([*ANN], [Stop(0, 2, signal.SIGINT)], "Ctrl-C stopped training in epoch 1"),
        ([*ANN], [Stop(1, 2)], "SIGTERM stopped training in epoch 2; best epoch: 1"),
    ],
)
def test_progress_says_why_training_ended(overrides, callbacks, expected, composed, tmp_path, capsys):
    count(composed(*overrides), tmp_path, *callbacks)
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(expected, last), last


def test_a_file_has_plain_lines_flushed_every_epoch(composed, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI services do
    path, found = tmp_path / "out.txt", []

    class Read(pl.Callback):
        def on_train_epoch_end(self, *args):
            found.append(len(EPOCH.findall(path.read_text())))

    with path.open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        count(composed(*ANN), tmp_path, Read())
        monkeypatch.undo()
    assert found == [1, 2]
    assert not set(path.read_text()) & {"\x1b", "\r"}


def test_next_steps_are_whole_commands_with_relative_paths(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a b" / ("long" * 30)
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1").touch()
    summary = {"status": "interrupted", "partial": None, "data_note": None, "test": {}}
    print_outcome(summary, folder, ["--config-dir=mycode"])
    *_, resume, report, evaluate, tensorboard, last = capsys.readouterr().out.splitlines()
    path = f"a b/{'long' * 30}"
    assert shlex.split(resume)[2:] == ["-m", "fmnist_lightning", "--config-dir=mycode", f"resume={path}"]
    assert report == f"report: {path}/report/report.html"
    assert shlex.split(evaluate)[2:] == ["-m", "fmnist_lightning.evaluate", "--config-dir=mycode", f"run={path}"]
    assert shlex.split(tensorboard)[2:] == ["-m", "tensorboard.main", "--logdir", path]
    assert last == f"run: {folder}"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals")
def test_a_terminal_shows_each_stage_from_the_start(tiny_overrides, tmp_path):
    import pty

    seen, child = b"", pty.fork()
    if child[0] == 0:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-m", "fmnist_lightning", "model=ann", *tiny_overrides], os.environ)
    try:
        while part := os.read(child[1], 2**16):
            seen += part
    except OSError:  # Linux: the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(child[0], 0)[1]) == 0, seen
    shown = seen.decode()
    stages = ["loading PyTorch ...", "loading the data ...", "starting training ...", "model ", TITLES, "1/2", "2/2"]
    stages += ["training ended", "testing the best checkpoint ...", "writing the report ...", "Classification report"]
    positions = [shown.find(stage) for stage in stages]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert shown.rstrip().splitlines()[-1].startswith(f"run: {tmp_path}")
