import re
import signal

import lightning.pytorch as pl
import pytest
from hydra.utils import instantiate

from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer
from fmnist_lightning.training.fit import fit
from fmnist_lightning.training.progress import EpochProgress
from fmnist_lightning.training.state import TrainingState

ANN = ["model=ann", "model.hidden=[16]", "logger=none", "~callbacks.early_stopping"]


class Record(pl.Callback):
    """The bar's count after each batch, right after the progress callback updated it."""

    def __init__(self, progress):
        self.progress, self.counts = progress, []

    def on_train_start(self, *args):
        self.counts.append(self.progress.bar.tasks[0].completed)

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
    return progress.bar.tasks[0].total, record.counts


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
def test_progress_counts_batches_up_to_its_total(overrides, total, counts, composed, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    assert count(composed(*ANN, *overrides), tmp_path) == (total, counts)


@pytest.mark.parametrize("stop", [(1, 0, 5), (1, 4, 9)])  # at the end of an epoch, and after 4 of its 5 batches
def test_progress_of_a_resumed_run_starts_where_it_stopped(stop, composed, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    cfg = composed(*ANN, "callbacks.checkpoint.every_n_train_steps=3")
    epoch, batch, completed = stop

    class Stop(pl.Callback):
        def on_train_batch_start(self, trainer, model, batch_, batch_idx):
            if (trainer.current_epoch, batch_idx) == (epoch, batch):
                raise Interrupted(signal.SIGTERM)

    assert count(cfg, tmp_path, Stop()) == (10, [0, 5])
    last = Run(tmp_path).last_checkpoint
    assert count(cfg, tmp_path, checkpoint=last) == (10, [completed, 10])


@pytest.mark.parametrize("metric", ["val/loss", "val/accuracy", "train/accuracy"])
def test_progress_marks_each_epoch_that_is_the_best_so_far(metric, composed, tmp_path, capsys):
    monitor = f"callbacks.best_checkpoint.monitor={metric}"
    count(composed(*ANN, monitor, "optimizer.lr=0.5", "trainer.max_epochs=9"), tmp_path)
    values = [row[metric] for row in Run(tmp_path).read_metrics()]
    signs = [-value if metric.endswith("loss") else value for value in values]
    expected = [sign > max(signs[:i], default=float("-inf")) for i, sign in enumerate(signs)]
    lines = re.findall(r"^ *[1-9]/9 .*$", capsys.readouterr().out, re.MULTILINE)
    assert ["*" in line for line in lines] == expected
    assert not all(expected)
