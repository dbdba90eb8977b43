"""The modules under Trainers that this project does not build: the logged means and the gradients are exact."""

import functools
from datetime import timedelta

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from fmnist_lightning.models import ANN, CNN
from fmnist_lightning.training.quiet import IGNORED_WARNINGS

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (*IGNORED_WARNINGS, "You defined a `validation_step` but have no `val_dataloader`")
]


def trainer_of(**arguments) -> pl.Trainer:
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(**{"accelerator": "cpu", "max_epochs": 2, **silent, **arguments})


def sums(model: pl.LightningModule, batch) -> torch.Tensor:
    """Summed cross-entropy, correct predictions, images of a batch under the weights of this moment."""
    images, labels = batch
    with torch.no_grad():
        logits = model(images)
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss, (logits.argmax(1) == labels).sum(), torch.tensor(len(labels))]).double()


class Expected(pl.Callback):
    """Computes each epoch's means from the batches that the module gets, and compares what it logs."""

    def __init__(self):
        self.totals, self.checked = {}, {"train": 0, "val": 0}

    def on_train_epoch_start(self, *args):
        self.totals["train"] = torch.zeros(3, dtype=torch.float64)

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        self.totals["train"] += sums(model, batch)

    def on_validation_epoch_start(self, *args):
        self.totals["val"] = torch.zeros(3, dtype=torch.float64)

    def on_validation_batch_start(self, trainer, model, batch, *args):
        self.totals["val"] += sums(model, batch)

    def on_train_epoch_end(self, trainer, model):
        self.check("train", {name: metric.compute().item() for name, metric in model.stage_metrics("train").items()})

    def on_validation_end(self, trainer, model):
        if not trainer.sanity_checking:
            logged = trainer.callback_metrics
            self.check("val", {name: logged[f"val/{name}"].item() for name in ("loss", "accuracy")})

    def check(self, stage, means):
        loss, correct, num_images = self.totals[stage].tolist()
        assert means == pytest.approx({"loss": loss / num_images, "accuracy": correct / num_images}, rel=1e-5)
        self.checked[stage] += 1


ARGUMENTS = [
    ({}, 2, 2),
    ({"val_check_interval": 0.5}, 2, 4),  # of 5 batches: after the second and the fourth
    ({"val_check_interval": 1}, 2, 10),
    ({"max_steps": 7}, 2, 1),  # an epoch of 5 steps and one of 2
    ({"max_steps": 3}, 1, 0),
    ({"max_time": timedelta(milliseconds=1)}, 1, 1),
    ({"limit_train_batches": 3}, 2, 2),
    ({"limit_val_batches": 1}, 2, 2),
    ({"limit_val_batches": 0}, 2, 0),
    ({"check_val_every_n_epoch": 2}, 2, 1),
    ({"check_val_every_n_epoch": None, "val_check_interval": 3}, 2, 3),
    ({"num_sanity_val_steps": 2}, 2, 2),
    ({"accumulate_grad_batches": 2}, 2, 2),
    ({"accumulate_grad_batches": 2, "val_check_interval": 0.6}, 2, 2),
    ({"gradient_clip_val": 0.5}, 2, 2),
    ({"overfit_batches": 2}, 2, 2),
    ({"fast_dev_run": 2}, 1, 1),
]


@pytest.mark.parametrize(("arguments", "train_epochs", "validations"), ARGUMENTS, ids=[str(a) for a, *_ in ARGUMENTS])
def test_logged_means_are_those_of_the_epochs_images(arguments, train_epochs, validations, tiny):
    expected = Expected()
    trainer = trainer_of(callbacks=[expected], **{"num_sanity_val_steps": 0, **arguments})
    trainer.fit(ANN(hidden=(8,), dropout=0.0, batch_norm=False), datamodule=tiny)
    assert expected.checked == {"train": train_epochs, "val": validations}
    loss, correct, num_images = expected.totals["train"].tolist()
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(loss / num_images, rel=1e-5)
    assert trainer.callback_metrics["train/accuracy"].item() == pytest.approx(correct / num_images)


def test_overfit_batches_trains_on_the_same_images_in_every_epoch(tiny):
    class Seen(pl.Callback):
        epochs: list[list[torch.Tensor]]

        def on_fit_start(self, *args):
            self.epochs = []

        def on_train_epoch_start(self, *args):
            self.epochs.append([])

        def on_train_batch_start(self, trainer, model, batch, batch_idx):
            self.epochs[-1].append(batch[0])

    seen = Seen()
    trainer_of(callbacks=[seen], overfit_batches=2).fit(ANN(hidden=(8,)), datamodule=tiny)
    assert torch.equal(torch.cat(seen.epochs[0]), torch.cat(seen.epochs[1]))
    assert len(torch.cat(seen.epochs[0])) == 128


def test_validation_and_test_before_and_between_fits_do_not_mix(tiny):
    model = ANN(hidden=(8,), dropout=0.0, batch_norm=False)
    for _ in range(2):
        for stage, run in (("val", pl.Trainer.validate), ("test", pl.Trainer.test)):
            trainer = trainer_of()
            run(trainer, model, datamodule=tiny, verbose=False)
            loss, correct, num_images = sums(model, (tiny.images[stage], tiny.labels[stage])).tolist()
            assert trainer.callback_metrics[f"{stage}/loss"].item() == pytest.approx(loss / num_images, rel=1e-5)
            assert trainer.callback_metrics[f"{stage}/accuracy"].item() == pytest.approx(correct / num_images)
        expected = Expected()
        trainer_of(callbacks=[expected], max_epochs=1).fit(model, datamodule=tiny)
        assert expected.checked == {"train": 1, "val": 1}


def test_metrics_of_an_aborted_epoch_are_discarded(tiny):
    class Fail(pl.Callback):
        def on_train_batch_end(self, *args):
            raise KeyError("stop")

    model = ANN(hidden=(8,), dropout=0.0, batch_norm=False)
    with pytest.raises(KeyError):
        trainer_of(callbacks=[Fail()]).fit(model, datamodule=tiny)
    expected = Expected()
    trainer_of(callbacks=[expected]).fit(model, datamodule=tiny)
    assert expected.checked == {"train": 2, "val": 2}


@pytest.mark.parametrize(
    ("arguments", "windows"),
    [
        ({}, [[1] * 5]),
        ({"accumulate_grad_batches": 2}, [[2, 2, 1]]),
        ({"accumulate_grad_batches": 3}, [[3, 2]]),
        ({"accumulate_grad_batches": 7}, [[5]]),
        ({"accumulate_grad_batches": 2, "limit_train_batches": 3, "val_check_interval": 1}, [[2, 1]]),
        ({"callbacks": [GradientAccumulationScheduler({0: 4, 1: 2})], "max_epochs": 2}, [[4, 1], [2, 2, 1]]),
    ],
)
@pytest.mark.parametrize("kind", [ANN, CNN])
def test_gradient_of_an_accumulation_window_is_the_mean_over_its_batches(kind, arguments, windows, tiny):
    def build():
        torch.manual_seed(0)
        make = lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)  # noqa: E731
        small = {"hidden": (8,)} if kind is ANN else {"filters": (2,), "head": ()}
        return kind(**small, dropout=0.0, optimizer=make)

    tiny.batch_size = 70  # 320 images: batches of 70, 70, 70, 70, 40
    model = build()
    trainer_of(**{"max_epochs": 1, "num_sanity_val_steps": 0, **arguments}).fit(model, datamodule=tiny)

    reference = build().train()
    reference.normalize.set_mean_and_std(tiny.mean, tiny.std)
    optimizer = reference.configure_optimizers()
    loader = tiny.train_dataloader()
    for epoch, sizes in enumerate(windows):
        loader.sampler.set_epoch(epoch)
        batches = iter(loader)
        for size in sizes:
            optimizer.zero_grad()
            for _ in range(size):
                images, labels = next(batches)
                (F.cross_entropy(reference(images), labels) / size).backward()
            optimizer.step()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_label_smoothing_is_part_of_the_training_loss_only(tiny):
    frozen = functools.partial(torch.optim.SGD, lr=0.0)
    losses = {}
    for smoothing in (0.0, 0.2):
        torch.manual_seed(0)
        model = ANN(dropout=0.0, batch_norm=False, label_smoothing=smoothing, optimizer=frozen)
        trainer = trainer_of(max_epochs=1)
        trainer.fit(model, datamodule=tiny)
        losses[smoothing] = {name: value.item() for name, value in trainer.callback_metrics.items()}
    with torch.no_grad():
        logits = model(tiny.images["train"])
    expected = F.cross_entropy(logits, tiny.labels["train"], label_smoothing=0.2).item()
    assert losses[0.2].pop("train/loss") == pytest.approx(expected, abs=1e-5)
    assert losses[0.0].pop("train/loss") != pytest.approx(expected, abs=1e-3)
    assert losses[0.0] == losses[0.2]
