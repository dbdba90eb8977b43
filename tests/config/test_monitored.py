import pytest
from omegaconf import OmegaConf

from fmnist_lightning.config.monitored import MONITORED, mode_contradiction, mode_of, resolve_mode
from fmnist_lightning.config.schema import first_violation
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.outcome import print_outcome
from fmnist_lightning.training.run import train

ANN = ["model=ann", "model.hidden=[16]", "trainer.max_epochs=4", "~callbacks.early_stopping"]
CHOICES = {
    "val/loss": "lowest validation loss",
    "val/accuracy": "highest validation accuracy",
    "train/loss": "lowest training loss",
    "train/accuracy": "highest training accuracy",
}


def test_mode_is_min_for_a_loss_and_max_for_an_accuracy():
    assert {metric: mode_of(metric) for metric in MONITORED} == {
        "val/loss": "min",
        "val/accuracy": "max",
        "train/loss": "min",
        "train/accuracy": "max",
    }


@pytest.mark.parametrize("callback", ["early_stopping", "best_checkpoint"])
@pytest.mark.parametrize(
    ("metric", "mode", "valid"),
    [
        ("val/loss", "auto", True),
        ("val/loss", "min", True),  # as earlier versions stored it
        ("val/loss", "max", False),
        ("val/accuracy", "auto", True),
        ("val/accuracy", "max", True),
        ("train/accuracy", "min", False),
    ],
)
def test_a_mode_that_contradicts_its_metric_is_rejected_by_name(callback, metric, mode, valid, composed):
    key = f"callbacks.{callback}"
    message = first_violation(composed(f"{key}.monitor={metric}", f"{key}.mode={mode}"))
    assert (message is None) == valid
    assert valid or f"{key}.mode={mode}: contradicts {key}.monitor={metric}" in message


def test_a_users_metric_needs_an_explicit_mode():
    callback = OmegaConf.create({"monitor": "val/f1", "mode": "auto"})
    assert "callbacks.mine.mode=auto: cannot be derived" in mode_contradiction({"mine": callback})
    callback.mode = "max"
    assert mode_contradiction({"mine": callback, "progress": None}) is None
    assert resolve_mode(callback) == {}


@pytest.mark.parametrize("metric", MONITORED)
def test_the_best_epoch_by_the_monitored_metric_is_tested_and_named(metric, composed, tmp_path, capsys):
    # 40 of the 80 validation images: the metric as training saw it differs from that of all 80
    few = ["trainer.limit_val_batches=1", "data.batch_size=40", "optimizer.lr=0.1"]
    train(composed(*ANN, *few, f"callbacks.best_checkpoint.monitor={metric}"), tmp_path, [])
    values = [row[metric] for row in Run(tmp_path).read_metrics()]
    best = max(values) if metric.endswith("accuracy") else min(values)
    summary = Run(tmp_path).read_summary()
    assert summary["best_epoch"] == values.index(best) + 1
    assert summary["monitored"] == {"metric": metric, "mode": mode_of(metric), "value": pytest.approx(best, abs=1e-6)}
    if metric.startswith("val/"):
        assert summary["val"][metric.removeprefix("val/")] != pytest.approx(best, abs=1e-5)
    print_outcome(summary, tmp_path)
    choice = CHOICES[metric]
    assert f"at epoch {summary['best_epoch']} of 4: the {choice}, {best:.4f}" in capsys.readouterr().out
    assert f"chosen by the {choice}\n({best:.4f} during training)" in Run(tmp_path).report_html.read_text()


def test_early_stopping_and_best_checkpoint_monitor_different_metrics(composed, tmp_path):
    monitor = ["callbacks.early_stopping.monitor=train/accuracy", "callbacks.early_stopping.patience=1"]
    summary = train(composed(*ANN[:2], *monitor, "trainer.max_epochs=30", "optimizer.lr=0.05"), tmp_path, [])
    rows = Run(tmp_path).read_metrics()
    accuracies = [row["train/accuracy"] for row in rows]
    assert accuracies[-1] <= max(accuracies[:-1])  # the first epoch without a higher one
    assert all(value > max(accuracies[:i]) for i, value in enumerate(accuracies[1:-1], start=1))
    losses = [row["val/loss"] for row in rows]
    assert (summary["monitored"]["metric"], summary["best_epoch"]) == ("val/loss", losses.index(min(losses)) + 1)
