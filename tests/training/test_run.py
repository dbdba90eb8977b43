import csv
import json
import re
import shutil
import signal
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from matplotlib.transforms import AffineBase

from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.models import ANN
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training import build, hardware, prepare
from fmnist_lightning.training.build import build_model, build_trainer, choose_precision
from fmnist_lightning.training.fit import fit
from fmnist_lightning.training.quiet import IGNORED_WARNINGS
from fmnist_lightning.training.run import train
from fmnist_lightning.training.signals import StopOnSignal

OPTIONS = [
    f"{group.name}={option.stem}"
    for group in sorted(CONF.iterdir())
    if group.is_dir() and group.name != "search"  # spaces of a search, which are no part of a run
    for option in sorted(group.glob("*.yaml"))
]
SMALL = ["model.head=[8]", "model.filters=[4,8]"]
# tested elsewhere: a real GPU, several processes, the real dataset, loggers whose libraries warn, runs as teachers
ELSEWHERE = {
    "callbacks=distillation",
    "experiment=distilled_ann",
    "trainer=gpu",
    "trainer=ddp",
    "data=fashion_mnist",
    "logger=mlflow",
    "logger=wandb",
}
REAL = {
    "experiment=paper_ann": ["model.hidden=[16]"],
    "experiment=best_ann": ["model.hidden=[16]"],
    "experiment=paper_cnn": SMALL,
    "experiment=fast_cnn": [*SMALL, "trainer.max_epochs=2"],
}


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - ELSEWHERE))
def test_every_option_of_every_group_trains(option, composed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FASHION_MNIST_MIRROR", raising=False)
    small = [] if option == "model=ann" else REAL.get(option, SMALL)
    more = ["data.mirrors=[]"] if option == "data=auto" else ["data=synthetic"] if option in REAL else []
    cfg = composed(option, *small, *more, "trainer.accelerator=cpu")
    summary = train(cfg, tmp_path / "run", [option])
    assert summary["status"] == "completed"
    assert summary["epochs"] == 2
    assert summary["data"] == "synthetic"
    assert Run(tmp_path / "run").report_html.exists()


def test_all_options_are_known():
    assert set(OPTIONS) >= ELSEWHERE
    assert len(OPTIONS) > 15


def test_paper_experiments_have_the_papers_settings(composed):
    ann, cnn = (
        composed(f"experiment=paper_{model}", "data=synthetic", "trainer.max_epochs=25") for model in ("ann", "cnn")
    )
    assert (ann.model.hidden, ann.model.dropout, ann.optimizer.lr) == ([128, 64], 0.25, 0.003)
    assert (cnn.model.filters, cnn.optimizer.lr) == ([32, 64], 0.001)
    for cfg in (ann, cnn):
        assert cfg.optimizer._target_ == "torch.optim.Adam"
        assert cfg.scheduler == {}
        assert (cfg.data.val_fraction, cfg.data.augment) == (0.2, False)
        assert (cfg.callbacks.early_stopping.monitor, cfg.trainer.max_epochs) == ("val/loss", 25)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])  # the third, 16-mixed, needs a GPU
def test_every_precision_of_a_cpu_trains(precision, composed, tmp_path):
    faster = ["trainer.max_epochs=4", "optimizer.lr=0.01"]
    summary = train(composed(f"trainer.precision={precision}", *SMALL, *faster), tmp_path, [])
    assert summary["status"] == "completed"
    assert summary["precision"] == precision
    assert summary["test"]["accuracy"] > 0.2  # guessing gives 0.1


@pytest.mark.parametrize("optimizer", [["optimizer=adam", "optimizer.lr=1e12"], ["optimizer=sgd", "optimizer.lr=1e30"]])
def test_diverged_loss_stops_the_run_with_step_and_advice(optimizer, composed, tmp_path):
    summary = run(composed, tmp_path, *optimizer)
    assert summary["status"] == Run(tmp_path).read_summary()["status"] == "failed"
    assert re.fullmatch(
        r"optimizer\.lr=1e\+\d+: the loss is \S+ at step [2-5], in epoch 1 \(chance level is 2\.30\); "
        r"lower optimizer\.lr, or set trainer\.gradient_clip_val=1\.0",
        summary["error"],
    )
    assert Run(tmp_path).read_metrics() == []
    assert not Run(tmp_path).best_checkpoint.exists()


@pytest.mark.parametrize(("batches", "step"), [(1, 2), (2, 2), (4, 2)])
def test_diverged_loss_names_its_optimizer_step_under_accumulation(batches, step, composed, tmp_path):
    accumulate = f"trainer.accumulate_grad_batches={batches}"  # the first step, of any window, makes the weights huge
    summary = run(composed, tmp_path, "optimizer=sgd", "optimizer.lr=1e30", "model.batch_norm=false", accumulate)
    assert f"at step {step}, in epoch 1" in summary["error"]


def test_weights_made_non_finite_by_the_last_step_are_not_the_best(composed, tmp_path, monkeypatch):
    validation_step = ANN.validation_step

    def spoiled(self, batch, batch_idx):
        if self.current_epoch == 1:
            next(self.parameters()).data.fill_(float("nan"))
        validation_step(self, batch, batch_idx)

    monkeypatch.setattr(ANN, "validation_step", spoiled)
    summary = run(composed, tmp_path, "trainer.max_epochs=3")
    assert summary["status"] == "failed"
    assert "the validation loss is inf after step 10, in epoch 2" in summary["error"]
    assert summary["best_epoch"] == 1
    assert summary["test"]["loss"] < 1e6
    assert Run(tmp_path).report_html.exists()


def test_failed_report_keeps_the_scores_and_is_written_on_resume(composed, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no font")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", broken)
        with pytest.raises(ValueError, match=f"the report failed .*no font.* resume={tmp_path} writes the report"):
            run(composed, tmp_path)
    failed = Run(tmp_path).read_summary()
    assert failed["status"] == "failed"
    assert Run(tmp_path).predictions_csv.exists()
    summary = train(composed("model=ann", "model.hidden=[16]"), tmp_path, [], resume=True)
    assert (summary["status"], summary["test"], summary["val"]) == ("completed", failed["test"], failed["val"])
    assert Run(tmp_path).report_html.exists()


def test_metrics_of_an_incomplete_epoch_are_those_of_its_batches(composed, tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, *args):
            trainer.should_stop = trainer.global_step >= 8

    cfg = composed("model=ann", "model.hidden=[16]", "trainer.max_epochs=4", "~callbacks.early_stopping")
    trainer = build_trainer(cfg, Run(tmp_path), "32-true")
    trainer.callbacks.append(Stop())
    data = instantiate(cfg.data, _convert_="all")
    with warnings.catch_warnings():
        for advice in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message=advice)
        trainer.fit(build_model(cfg), datamodule=data)
    first, second = Run(tmp_path).read_metrics()
    assert (first["step"], second["step"]) == (5, 8)
    assert first["train/loss"] != second["train/loss"]


def run(composed, folder: Path, *overrides: str):
    return train(composed("model=ann", "model.hidden=[16]", *overrides), folder, list(overrides))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_run_with_photo_augmentation_resumes_bit_identically(composed, tmp_path):
    overrides = ["model=ann", "model.hidden=[16]", "data.augment=photos"]
    train(composed(*overrides), tmp_path / "whole", [])
    train(composed(*overrides, "trainer.max_epochs=1"), tmp_path / "resumed", [])
    train(composed(*overrides), tmp_path / "resumed", [], resume=True)
    whole, resumed = (weights(tmp_path / name) for name in ("whole", "resumed"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    report = (tmp_path / "whole" / "report" / "report.html").read_text()
    assert "batches that resemble photos" in report


@pytest.mark.parametrize("model", [["model=ann"], ["model=cnn", *SMALL]])
def test_runs_are_bit_identical_for_the_same_seed_only(model, composed, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(composed(*model, f"seed={seed}", "data.augment=true"), tmp_path / name, [])
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()
    assert (tmp_path / "a" / "predictions.csv").read_bytes() == (tmp_path / "b" / "predictions.csv").read_bytes()


def test_checkpoint_with_the_lowest_validation_loss_is_tested(composed, tmp_path):
    # without dropout 64 units learn 320 images by heart within the epochs: the loss rises again
    by_heart = ["model.hidden=[64]", "model.dropout=0", "optimizer.lr=0.01", "trainer.max_epochs=20"]
    summary = run(composed, tmp_path, *by_heart, "callbacks.early_stopping.patience=20")
    losses = [row["val/loss"] for row in Run(tmp_path).read_metrics()]
    assert summary["best_epoch"] == losses.index(min(losses)) + 1 < summary["epochs"] == 20
    assert summary["val"]["loss"] == pytest.approx(min(losses), abs=1e-5)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] + 1 == 20


def test_early_stopping_ends_a_run_that_no_longer_improves(composed, tmp_path):
    summary = run(
        composed, tmp_path, "optimizer.lr=0.5", "trainer.max_epochs=20", "callbacks.early_stopping.patience=1"
    )
    assert summary["epochs"] < 20
    assert summary["best_epoch"] == summary["epochs"] - 1


def test_metrics_have_a_row_per_epoch_counted_from_one(composed, tmp_path):
    run(composed, tmp_path, "scheduler=one_cycle", "optimizer.lr=0.01")
    with (tmp_path / "metrics.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "step", "train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr"]
    assert [(row[0], row[1]) for row in rows] == [("1", "5"), ("2", "10")]
    assert float(rows[0][-1]) == pytest.approx(0.01 / 25)  # one cycle warms up from there


def test_failed_run_records_its_error(composed, tmp_path):
    # each pooling halves valid convolutions to nothing: only the constructor knows
    cfg = composed("model.filters=[4,4,4]", "model.kernel_size=5", "model.padding=valid")
    with pytest.raises(Exception, match="shrink to nothing"):
        train(cfg, tmp_path, [])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert "shrink to nothing" in summary["error"]


def test_existing_run_is_not_overwritten(composed, tmp_path):
    run(composed, tmp_path)
    before = (tmp_path / "summary.json").read_bytes()
    with pytest.raises(ValueError, match="already contains a run; not overwritten"):
        run(composed, tmp_path)
    assert (tmp_path / "summary.json").read_bytes() == before


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["ann", "cnn"])
def test_gpu_trains_and_tests_the_best_checkpoint(model, composed, tmp_path):
    cfg = composed(f"model={model}", "trainer=gpu", "trainer.accelerator=gpu", "trainer.max_epochs=3")
    summary = train(cfg, tmp_path, [])
    assert summary["device"] == torch.cuda.get_device_name()
    assert summary["epochs"] == 3
    assert (tmp_path / "checkpoints" / "best.ckpt").exists()
    assert summary["test"]["accuracy"] > 0.2


def test_ctrl_c_stops_a_run_if_a_library_swallows_the_exception(composed, tmp_path, monkeypatch):
    forward = ANN.forward

    def swallowing(self, images):
        try:
            if self.training:
                signal.raise_signal(signal.SIGINT)
        except:  # noqa: E722 - what some libraries do around imports
            pass
        return forward(self, images)

    monkeypatch.setattr(ANN, "forward", swallowing)
    before = signal.getsignal(signal.SIGINT)
    cfg = composed("model=ann", "model.hidden=[16]", "~callbacks.early_stopping")
    assert train(cfg, tmp_path, [])["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_error_in_training_after_a_signal_is_reported_as_that_error(number, composed, tmp_path, monkeypatch):
    forward = ANN.forward

    def failing(self, images):
        if self.training and self.trainer.current_epoch == 1:
            signal.raise_signal(number)
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return forward(self, images)

    monkeypatch.setattr(ANN, "forward", failing)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(composed, tmp_path)
    summary = Run(tmp_path).read_summary()
    error = "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert (summary["status"], summary["error"]) == ("failed", error)


@pytest.mark.parametrize("error", [ValueError("no page"), OSError(28, "No space left on device", "report.html")])
def test_error_after_training_and_after_a_signal_is_reported_as_that_error(error, composed, tmp_path, monkeypatch):
    def failing(self, files):
        signal.raise_signal(signal.SIGTERM)
        raise error

    monkeypatch.setattr(Run, "write_report", failing)
    with pytest.raises(type(error), match=r"no page|No space left"):
        run(composed, tmp_path)
    assert Run(tmp_path).read_summary()["status"] == "failed"


def test_best_checkpoint_of_an_epoch_after_the_last_is_not_reported(composed, tmp_path, monkeypatch):
    short, long = (composed("model=ann", "model.hidden=[16]", f"trainer.max_epochs={n}") for n in (1, 3))
    train(short, tmp_path / "run", [])
    train(long, tmp_path / "long", [])
    for name in ("best.ckpt", "best.ckpt.sha256"):  # as a kill right after best.ckpt was written leaves it
        shutil.copy(tmp_path / "long" / "checkpoints" / name, tmp_path / "run" / "checkpoints")
    forward = ANN.forward

    def stopped(self, images):
        if self.training:
            signal.raise_signal(signal.SIGINT)
        return forward(self, images)

    monkeypatch.setattr(ANN, "forward", stopped)
    summary = train(long, tmp_path / "run", [], resume=True)
    assert (summary["status"], summary["epochs"]) == ("interrupted", 1)
    assert "test" not in summary
    monkeypatch.setattr(ANN, "forward", forward)
    train(long, tmp_path / "run", [], resume=True)
    runs = [Run(tmp_path / name) for name in ("run", "long")]
    assert len({run.predictions_csv.read_bytes() for run in runs}) == 1


def test_precision_auto_is_bfloat16_if_it_is_faster(composed, monkeypatch):
    def chosen(has_bfloat16, *overrides):
        monkeypatch.setattr(build, "has_fast_bfloat16", lambda accelerator: has_bfloat16)
        cfg = composed(*overrides)
        return choose_precision(cfg, build_model(cfg))

    assert chosen(True, "model=cnn") == "bf16-mixed"
    assert chosen(False, "model=cnn") == "32-true"
    assert chosen(True, "model=ann") == "32-true"
    assert chosen(True, "model=cnn", "trainer.gradient_clip_val=1.0") == "32-true"
    assert chosen(True, "model=cnn", "trainer.precision=32-true") == "32-true"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux says there what its processor can do")
def test_bfloat16_support_is_that_of_the_processor_flags():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert hardware.has_fast_bfloat16("cpu") == ("amx_bf16" in flags or "avx512_bf16" in flags)


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["ann", "cnn"])
def test_no_training_step_waits_for_the_gpu(model, composed, tmp_path):
    class Strict(Callback):
        def on_train_batch_start(self, *args):
            torch.cuda.set_sync_debug_mode("error")

        def on_train_batch_end(self, *args):
            torch.cuda.set_sync_debug_mode("default")

    cfg = composed(f"model={model}", "trainer.accelerator=gpu", "logger=none")
    learner = build_model(cfg)
    trainer = build_trainer(cfg, Run(tmp_path), choose_precision(cfg, learner))
    trainer.callbacks.append(Strict())
    fit(trainer, learner, instantiate(cfg.data, _convert_="all"))
    assert trainer.global_step == 10


def test_callbacks_of_the_caller_are_added_to_those_of_the_configuration(composed, tmp_path):
    class CountsEpochs(Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, pl_module):
            self.epochs += 1

    counter = CountsEpochs()
    summary = train(composed(*SMALL), tmp_path, callbacks=[counter])
    assert counter.epochs == summary["epochs"] == len(Run(tmp_path).read_metrics())


def test_signal_before_training_whose_exception_was_swallowed_stops_the_run(composed, tmp_path, monkeypatch):
    class Clears:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)  # Python swallows what is raised here

    def build(*arguments):
        Clears()
        return build_trainer(*arguments)

    monkeypatch.setattr(prepare, "build_trainer", build)
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(composed, tmp_path)
    assert Run(tmp_path).read_summary()["status"] == "interrupted"
    assert not Run(tmp_path).last_checkpoint.exists()


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Predictor, "logits"), (Run, "write_predictions"), (AffineBase, "__array__")],
)
def test_signal_after_training_stops_the_run_at_the_next_step(owner, name, composed, tmp_path, monkeypatch):
    original, scoring = getattr(owner, name), []

    def signalled(self, *arguments, **options):
        scoring.append(name)
        if len(scoring) == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *arguments, **options)

    monkeypatch.setattr(owner, name, signalled)
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(composed, tmp_path)
    assert owner is AffineBase or len(scoring) == 1
    summary = Run(tmp_path).read_summary()
    assert (summary["status"], summary["error"]) == ("interrupted", "Interrupted: interrupted by SIGTERM")
    monkeypatch.undo()
    assert train(composed("model=ann", "model.hidden=[16]"), tmp_path, [], resume=True)["status"] == "completed"


def test_signal_while_a_run_creates_its_directory_is_recorded(composed, tmp_path, monkeypatch):
    create = Run.create

    def signalled(self, *arguments):
        signal.raise_signal(signal.SIGTERM)
        create(self, *arguments)

    monkeypatch.setattr(Run, "create", signalled)
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(composed, tmp_path)
    assert Run(tmp_path).read_summary()["status"] == "interrupted"


def test_sigterm_while_a_run_stopped_by_ctrl_c_is_reported_stops_the_report(composed, tmp_path, monkeypatch):
    forward = ANN.forward

    def signalled(self, images):
        if self.training and self.trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)
        elif self._trainer is None:  # as scored after training
            assert Run(tmp_path).read_summary()["status"] == "interrupted"
            signal.raise_signal(signal.SIGTERM)
        return forward(self, images)

    monkeypatch.setattr(ANN, "forward", signalled)
    with pytest.raises(Interrupted, match="SIGTERM"):
        run(composed, tmp_path)


def test_run_without_a_completed_epoch_is_not_completed(composed, tmp_path):
    with pytest.raises(ValueError, match="no epoch was completed"):
        run(composed, tmp_path, "trainer.max_epochs=0")
    assert Run(tmp_path).read_summary()["status"] == "failed"


def test_signal_during_reduce_stops_all_processes_after_the_next_batch():
    """One that arrives while the processes exchange what they received must not be overwritten by the result."""
    during_reduce = [signal.SIGTERM, None]

    def reduce(local, reduce_op):
        if number := during_reduce.pop(0):
            signal.raise_signal(number)
        return local

    strategy = SimpleNamespace(root_device="cpu", reduce=reduce)
    trainer = SimpleNamespace(world_size=2, strategy=strategy)
    with StopOnSignal() as signals:
        signals.on_train_epoch_start(trainer, None)
        with pytest.raises(Interrupted, match="SIGTERM"):
            signals.on_train_epoch_start(trainer, None)
