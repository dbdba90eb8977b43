import pytest
import torch

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.load import load_best
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train
from fmnist_lightning.training.scoring import score_splits

ANN = ["model=ann", "model.hidden=[16]", "~callbacks.early_stopping", "logger=none"]


@pytest.mark.parametrize(
    ("argument", "steps"),
    [
        ("val_check_interval=0.5", [5, 10]),  # after batches 2, 4 and 5
        ("val_check_interval=3", [5, 10]),
        ("max_steps=7", [5, 7]),
        ("max_steps=5", [5]),
        ("accumulate_grad_batches=2", [3, 6]),
        ("min_epochs=2", [5, 10]),
        ("overfit_batches=2", [2, 4]),
    ],
)
def test_validation_of_a_row_uses_the_last_weights_of_its_epoch(argument, steps, composed, tmp_path, tiny):
    plus = "" if argument.startswith("accumulate") else "+"
    cfg = composed(*ANN, f"{plus}trainer.{argument}")
    summary = train(cfg, tmp_path, [])
    rows = Run(tmp_path).read_metrics()
    assert [row["step"] for row in rows] == steps
    predictor = load_best(Run(tmp_path), cfg)
    weights = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    predictor.model.load_state_dict(weights)
    scores, _ = score_splits(predictor, tiny)
    assert scores["val"]["loss"] == pytest.approx(rows[-1]["val/loss"], abs=1e-5)
    losses = [row["val/loss"] for row in rows]
    assert summary["best_epoch"] == losses.index(min(losses)) + 1
    assert summary["val"]["loss"] == pytest.approx(min(losses), abs=1e-5)


@pytest.mark.parametrize("argument", ["check_val_every_n_epoch=2", "check_val_every_n_epoch=null"])
def test_epochs_without_a_validation_are_rejected_before_training(argument, composed, tmp_path):
    cfg = composed(*ANN, f"+trainer.{argument}", "+trainer.val_check_interval=2")
    with pytest.raises(ValueError, match=r"trainer\.check_val_every_n_epoch=\w+: must be 1"):
        train(cfg, tmp_path, [])
    assert Run(tmp_path).read_metrics() == []


def test_run_resumed_between_validations_is_bit_identical(composed, tmp_path, monkeypatch):
    every = [*ANN, "+trainer.val_check_interval=2", "callbacks.checkpoint.every_n_train_steps=1"]
    train(composed(*every), tmp_path / "expected", [])

    class Killed(BaseException):
        pass

    on_before_batch_transfer = FashionMNISTData.on_after_batch_transfer
    transfers = []

    def kill(self, batch, dataloader_idx):
        transfers.append(1)
        if len(transfers) == kill_at:
            raise Killed
        return on_before_batch_transfer(self, batch, dataloader_idx)

    monkeypatch.setattr(FashionMNISTData, "on_after_batch_transfer", kill)
    for kill_at in (4, 6, 10, 17):  # of 11 batches an epoch: in the first validation, after it, in the last, in epoch 2
        transfers.clear()
        run = Run(tmp_path / str(kill_at))
        with pytest.raises(Killed):
            train(composed(*every), run.folder, [])
        transfers.clear()
        transfers += [1] * 1000
        train(composed(*every), run.folder, [], resume=True)
        assert run.metrics_csv.read_bytes() == (tmp_path / "expected" / "metrics.csv").read_bytes()
        one, other = (
            torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
            for folder in (run.folder, tmp_path / "expected")
        )
        assert all(torch.equal(one["state_dict"][key], value) for key, value in other["state_dict"].items())
