import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.inference.load import load_run
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train

OVERRIDES = ["model.filters=[4]", "model.head=[8]", "trainer.max_epochs=3", "logger=none"]


class ExpectedAverage(Callback):
    """Computes the average of the weights from those after each step."""

    def __init__(self, decay):
        self.decay, self.num_steps, self.average, self.epochs = decay, 0, {}, []

    def on_train_batch_end(self, trainer, model, *args):
        self.num_steps += 1
        decay = min(self.decay, (1 + self.num_steps) / (10 + self.num_steps)) if self.average else 0
        for name, value in model.state_dict().items():
            old = self.average.get(name, value)
            is_float = value.is_floating_point()
            self.average[name] = decay * old + (1 - decay) * value if is_float else value.clone()

    def on_train_epoch_end(self, trainer, model):
        self.epochs.append(dict(self.average))


def checkpoint(run, name):
    return torch.load(run.checkpoints / f"{name}.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def averaged(composed, tmp_path_factory):
    """A run with averaged weights, its summary, and the average computed apart."""
    run, expected = Run(tmp_path_factory.mktemp("averaged")), ExpectedAverage(decay=0.6)
    summary = train(composed(*OVERRIDES, "callbacks=ema", "callbacks.ema.decay=0.6"), run.folder, callbacks=[expected])
    return run, summary, expected


def test_best_checkpoint_holds_the_average_of_weights_and_batch_statistics(averaged):
    run, summary, expected = averaged
    weights = checkpoint(run, "best")["state_dict"]
    average = expected.epochs[summary["best_epoch"] - 1]
    assert weights.keys() == average.keys()
    assert any("running_var" in name for name in weights)
    for name, value in weights.items():
        assert torch.allclose(value, average[name], atol=1e-6), name
    trained = checkpoint(run, "best")["current_model_state"]
    assert not torch.allclose(weights["network.0.weight"], trained["network.0.weight"])


def test_validation_and_predictions_are_those_of_the_average(averaged, tiny):
    run, summary, _ = averaged
    logits = load_run(run.folder).logits(tiny.images["val"])
    loss = F.cross_entropy(logits, tiny.labels["val"]).item()
    best_row = run.read_metrics()[summary["best_epoch"] - 1]
    assert best_row["val/loss"] == pytest.approx(loss, abs=1e-5)
    assert summary["val"]["loss"] == pytest.approx(loss, abs=1e-5)
    assert min(row["val/loss"] for row in run.read_metrics()) == best_row["val/loss"]


@pytest.mark.slow
def test_averaging_does_not_change_what_is_trained(averaged, composed, tmp_path):
    train(composed(*OVERRIDES), tmp_path)
    plain, trained = checkpoint(Run(tmp_path), "last")["state_dict"], checkpoint(averaged[0], "last")
    assert all(torch.equal(value, plain[name]) for name, value in trained["current_model_state"].items())


@pytest.mark.slow  # tests/faults kills such runs
def test_resumed_run_with_averaged_weights_is_bit_identical(averaged, composed, tmp_path):
    ema = ["callbacks=ema", "callbacks.ema.decay=0.6"]
    train(composed(*OVERRIDES, *ema, "trainer.max_epochs=2"), tmp_path)
    train(composed(*OVERRIDES, *ema), tmp_path, resume=True)
    run, expected = Run(tmp_path), averaged[0]
    assert run.metrics_csv.read_bytes() == expected.metrics_csv.read_bytes()
    for key in ("state_dict", "current_model_state", "averaging_state"):
        resumed, uninterrupted = checkpoint(run, "last")[key], checkpoint(expected, "last")[key]
        assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())
