import copy
import signal

import lightning.pytorch as pl
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import nn

from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.models import ANN, MuonAdamW, one_cycle
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model
from fmnist_lightning.training.run import train
from tests.faults.conftest import assert_equal

MUON = ["optimizer=muon", "optimizer.lr=0.004", "logger=none"]
SMALL = {"ann": ["model=ann", "model.hidden=[16,12]"], "cnn": ["model=cnn", "model.filters=[4]", "model.head=[16]"]}
MATRICES = {"ann": ["network.1.weight", "network.5.weight"], "cnn": ["network.6.weight"]}


def step(model, *optimizers):
    images = torch.rand(32, 28, 28, generator=torch.Generator().manual_seed(0))
    loss = F.cross_entropy(model(images), torch.arange(32) % 10)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ANN(hidden=[16, 12], dropout=0.0)


def test_steps_are_those_of_muon_and_adamw_bit_for_bit(model):
    other = copy.deepcopy(model)
    optimizer = MuonAdamW(model.parameters(), lr=0.01, lr_factor=3, momentum=0.8, betas=(0.8, 0.9), weight_decay=0.1)
    matrices = [other.get_parameter(name) for name in MATRICES["ann"]]
    rest = [parameter for name, parameter in other.named_parameters() if name not in MATRICES["ann"]]
    adamw = torch.optim.AdamW(rest, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1, fused=True)
    muon = torch.optim.Muon(matrices, lr=0.03, momentum=0.8, weight_decay=0.1)
    for _ in range(3):
        step(model, optimizer)
        step(other, adamw, muon)
    assert_equal(model.state_dict(), other.state_dict())


def test_loaded_state_continues_bit_for_bit(model, tmp_path):
    optimizer = MuonAdamW(model.parameters(), lr=0.01)
    step(model, optimizer)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state")
    other = ANN(hidden=[16, 12], dropout=0.0)
    loaded = MuonAdamW(other.parameters(), lr=0.5)
    weights, state = torch.load(tmp_path / "state", weights_only=True)
    other.load_state_dict(weights)
    loaded.load_state_dict(state)
    step(model, optimizer)
    step(other, loaded)
    assert_equal(model.state_dict(), other.state_dict())
    assert_equal(optimizer.state_dict(), loaded.state_dict())


def test_schedule_has_each_groups_learning_rate_as_its_maximum(model):
    optimizer = MuonAdamW(model.parameters(), lr=0.01, lr_factor=5)
    schedule = one_cycle(optimizer, total_steps=10)
    rates = []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.param_groups])
        step(model, optimizer)
        schedule.step()
    assert all(muon == pytest.approx(5 * adamw) for adamw, muon in rates)
    assert max(adamw for adamw, _ in rates) == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["ann", "cnn"])
def test_hidden_dense_layers_are_muons(name, composed):
    model = build_model(composed(*SMALL[name], *MUON, "optimizer.lr_factor=2"))
    adamw, muon = model.configure_optimizers().param_groups
    assert [n for n, p in model.named_parameters() if any(p is each for each in muon["params"])] == MATRICES[name]
    assert len(adamw["params"]) + len(muon["params"]) == len(list(model.parameters()))
    assert (adamw["lr"], muon["lr"]) == (0.004, 0.008)


def test_model_without_hidden_dense_layers_is_rejected():
    with pytest.raises(ValueError, match="no hidden dense layer; use optimizer=adamw"):
        MuonAdamW(nn.Conv2d(1, 10, 3).parameters(), lr=0.01)


class Stop(Callback):
    """Interrupts the second epoch, which has 5 batches or more."""

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (1, 1):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ann", "cnn"])
def test_run_interrupted_within_an_epoch_resumes_bit_identically(name, composed, tmp_path):
    expected, run = Run(tmp_path / "expected"), Run(tmp_path / "run")
    more = ["scheduler=one_cycle", "trainer.gradient_clip_val=0.5", "callbacks.checkpoint.every_n_train_steps=1"]
    typed = [*SMALL[name], *MUON, *more]
    train(composed(*typed), expected.folder)
    with pytest.raises(Interrupted):
        train(composed(*typed), run.folder, callbacks=[Stop()])
    assert torch.load(run.last_checkpoint, weights_only=True)["global_step"] % 5 != 0
    assert len(run.read_metrics()) == 1
    assert train(composed(*typed), run.folder, resume=True)["status"] == "completed"
    assert run.metrics_csv.read_bytes() == expected.metrics_csv.read_bytes()
    assert run.read_metrics()[0]["lr"] == pytest.approx(0.004 / 25)
    resumed, uninterrupted = (torch.load(each.last_checkpoint, weights_only=True) for each in (run, expected))
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(resumed[key], uninterrupted[key])


class ClippedNorm(Callback):
    def on_train_batch_end(self, trainer, model, *args):
        self.norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in model.parameters()])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped(precision, composed, tiny):
    clipped = ClippedNorm()
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    steps = {"max_steps": 2, "limit_val_batches": 0, "accelerator": "cpu", "precision": precision}
    trainer = pl.Trainer(callbacks=[clipped], gradient_clip_val=0.01, **steps, **silent)
    trainer.fit(build_model(composed(*SMALL["ann"], *MUON)), datamodule=tiny)
    assert clipped.norm == pytest.approx(0.01, rel=1e-3)
