import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.models import one_cycle
from fmnist_lightning.training.build import build_model
from fmnist_lightning.training.run import train

SCHEDULERS = sorted(path.stem for path in (CONF / "scheduler").glob("*.yaml") if path.stem != "none")
OPTIMIZERS = {
    "adam": {"betas": [0.5, 0.9], "eps": 1e-6, "weight_decay": 0.1},
    "adamw": {"betas": [0.5, 0.9], "eps": 1e-6, "weight_decay": 0.1},
    "sgd": {"momentum": 0.5, "weight_decay": 0.1},
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_scheduler_overwrites_an_optimizer_override(optimizer, scheduler, composed):
    typed = {"lr": 0.02} | OPTIMIZERS[optimizer]
    overrides = [f"optimizer.{key}={value}".replace(" ", "") for key, value in typed.items()]
    cfg = composed("model=ann", f"optimizer={optimizer}", f"scheduler={scheduler}", *overrides)
    learner = instantiate(cfg.optimizer, _convert_="all")([nn.Parameter(torch.zeros(1))])
    schedule = instantiate(cfg.scheduler)(learner, total_steps=10)
    rates = []
    for _ in range(10):
        (group,) = learner.param_groups
        assert {key: list(group[key]) if key == "betas" else group[key] for key in OPTIMIZERS[optimizer]} == (
            OPTIMIZERS[optimizer]
        )
        rates.append(group["lr"])
        learner.step()
        schedule.step()
    assert max(rates) == pytest.approx(0.02)


def test_one_cycle_warms_up_and_anneals():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = one_cycle(optimizer, total_steps=10, pct_start=0.4, div_factor=10, final_div_factor=100)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert (rates[0], rates[3], rates[-1]) == pytest.approx((0.05, 0.5, 0.0005))
    assert rates == sorted(rates[:4]) + sorted(rates[4:], reverse=True)


def test_linear_schedule_warms_up_and_decays_in_straight_lines(composed):
    cfg = composed("model=ann", "scheduler=linear", "scheduler.pct_start=0.4", "scheduler.div_factor=10")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = instantiate(cfg.scheduler)(optimizer, total_steps=10)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.05, 0.2, 0.35, 0.5, 0.5 * 5 / 6, 0.5 * 4 / 6, 0.5 * 3 / 6, 0.5 * 2 / 6, 0.5 / 6, 0]
    assert rates == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pct_start", [0.1, 0.25, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5, 10, 11])
def test_one_cycle_reaches_its_maximum_or_rejects_too_few_steps(pct_start, total_steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    needed = {0.1: 11, 0.25: 5, 0.3: 4, 0.5: 3, 0.9: 3}[pct_start]
    if total_steps < needed:
        with pytest.raises(
            ValueError, match=rf"scheduler\.pct_start={pct_start}: .* at least {needed} optimizer steps"
        ):
            one_cycle(optimizer, total_steps, pct_start)
        return
    schedule = one_cycle(optimizer, total_steps, pct_start)
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.5 / 25)
    assert max(rates) > 0.25
    assert rates[-1] == pytest.approx(0.5 / 25 / 1e4)


def test_a_run_too_short_for_its_schedule_ends_before_training(composed, tmp_path):
    cfg = composed("model=ann", "scheduler=one_cycle", "trainer.max_epochs=1", "trainer.limit_train_batches=1")
    with pytest.raises(ValueError, match=r"at least 4 optimizer steps, and the run has 1; raise trainer\.max_epochs"):
        train(cfg, tmp_path, [])


def test_a_schedule_without_a_last_step_is_rejected(tiny, composed):
    import lightning.pytorch as pl

    model = build_model(composed("model=ann", "scheduler=cosine"))
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=-1, **silent)
    with pytest.raises(ValueError, match=r"scheduler: .*trainer\.max_epochs"):
        trainer.fit(model, datamodule=tiny)
