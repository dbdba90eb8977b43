"""Which learning rate a configuration has, whatever is chosen and in whatever order."""

import itertools

import pytest
import yaml
from omegaconf import OmegaConf

from fmnist_lightning.inference.load import load_best
from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.untrusted import override_config
from fmnist_lightning.training.build import build_model
from fmnist_lightning.training.run import train

TABLE = {
    (): 0.001,
    ("model=ann",): 0.003,
    ("model=cnn",): 0.001,
    ("model=ann", "optimizer=adamw"): 0.003,
    ("model=cnn", "optimizer=adamw"): 0.001,
    ("model=ann", "optimizer=sgd"): 0.05,
    ("model=cnn", "optimizer=sgd"): 0.05,
    ("model=ann", "optimizer.lr=0.2"): 0.2,
    ("optimizer=sgd", "optimizer.lr=0.2", "model=ann"): 0.2,
    ("experiment=paper_ann",): 0.003,
    ("experiment=paper_cnn",): 0.001,
    ("experiment=paper_ann", "optimizer=sgd"): 0.05,
    ("experiment=fast_cnn",): 0.008,
    ("experiment=fast_cnn", "optimizer=sgd"): 0.008,
    ("experiment=fast_cnn", "optimizer.lr=0.01"): 0.01,
    ("model=ann", "scheduler=cosine"): 0.003,
}


@pytest.mark.parametrize(("overrides", "lr"), TABLE.items(), ids=[" ".join(key) or "none" for key in TABLE])
def test_learning_rate_of_every_choice_in_every_order(overrides, lr, composed):
    for order in itertools.permutations(overrides):
        assert composed(*order).optimizer.lr == lr
    model = build_model(composed(*overrides, "scheduler=none"))
    assert model.configure_optimizers().param_groups[0]["lr"] == lr


def test_a_users_files_have_the_default_rate_or_their_own(composed, tmp_path):
    target = {"_target_": "fmnist_lightning.models.ANN"}
    for name, header, content in (
        ("model/plain", "", target),
        ("model/own", "# @package _global_\n", {"model": target, "optimizer": {"lr": 0.02}}),
        ("optimizer/adagrad", "", {"_target_": "torch.optim.Adagrad", "_partial_": True}),
        ("optimizer/rmsprop", "", {"_target_": "torch.optim.RMSprop", "_partial_": True, "lr": 0.0004}),
    ):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(header + yaml.safe_dump(content))

    def lr(*overrides):
        return composed(f"hydra.searchpath=[file://{tmp_path}]", *overrides).optimizer.lr

    assert lr("model=plain") == lr("optimizer=adagrad", "model=plain") == 0.001
    assert lr("model=own") == lr("optimizer=adagrad", "model=own") == 0.02
    assert lr("model=own", "optimizer=sgd") == 0.05
    assert lr("optimizer=adagrad", "model=ann") == 0.003
    assert lr("optimizer=rmsprop", "model=own") == 0.0004


@pytest.mark.parametrize(("stored", "lr"), [("${model.adam_lr}", 0.003), (0.2, 0.2)])
def test_a_run_that_stored_the_rate_with_the_model_is_read_and_resumed(stored, lr, composed, tmp_path):
    run = Run(tmp_path)
    train(composed("model=ann", "model.hidden=[16]", f"optimizer.lr={lr}", "trainer.max_epochs=1"), run.folder, [])
    plain = yaml.safe_load(run.config_file.read_text())
    plain["model"]["adam_lr"], plain["optimizer"]["lr"] = 0.003, stored
    run.config_file.write_text(yaml.safe_dump(plain))
    cfg = run.read_config()
    assert "adam_lr" not in cfg.model
    assert OmegaConf.to_container(cfg)["optimizer"]["lr"] == lr
    load_best(run, cfg)
    cfg = override_config(cfg, run.config_file, {"trainer.max_epochs": 2})
    assert train(cfg, run.folder, [], resume=True)["epochs"] == 2


def test_a_stored_rate_is_not_resolved_from_the_environment(composed, tmp_path, monkeypatch):
    monkeypatch.setenv("RATE", "0.5")
    run = Run(tmp_path)
    run.create({"status": "running", "overrides": []}, composed("model=ann"), [])
    plain = yaml.safe_load(run.config_file.read_text())
    plain["model"]["adam_lr"], plain["optimizer"]["lr"] = "${oc.env:RATE}", "${model.adam_lr}"
    run.config_file.write_text(yaml.safe_dump(plain))
    with pytest.raises(ValueError, match="uses a resolver"):
        run.read_config()


def test_a_one_cycle_run_of_version_0_1_is_scored_and_names_the_version_that_resumes_it(composed, tmp_path):
    run = Run(tmp_path)
    run.create({"status": "running", "overrides": []}, composed("model=ann", "scheduler=one_cycle"), [])
    plain = yaml.safe_load(run.config_file.read_text())
    plain["scheduler"] = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "_partial_": True}
    plain["scheduler"] |= {"max_lr": "${optimizer.lr}", "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4}
    run.config_file.write_text(yaml.safe_dump(plain))
    assert build_model(run.read_config()).scheduler is not None
    with pytest.raises(ValueError, match=r"of version 0\.1\.0 or earlier; resume the run with that version"):
        config_to_resume(run, [])
