import shutil

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback

from fmnist_lightning.inference.load import load_run
from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.run import train

STUDENT = ["model=ann", "model.hidden=[16]", "model.dropout=0.1", "logger=none", "data.augment=[flip,erase]"]


class Recorder(Callback):
    """Keeps the first batch, what the student answers, and its loss."""

    def __init__(self):
        self.first = None

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if self.first is None:
            self.first = batch

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        self.loss = outputs["loss"] if batch_idx == 0 and trainer.current_epoch == 0 else self.loss


@pytest.fixture(scope="module")
def teachers(composed, tmp_path_factory):
    """The directory of two tiny CNNs."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (0, 1):
        overrides = ["model.filters=[4]", "model.head=[8]", "model.dropout=0", "optimizer.lr=0.01", "logger=none"]
        train(composed(*overrides, f"seed={seed}"), folder / f"cnn_{seed}")
    return folder


@pytest.fixture(scope="module")
def distill(composed, teachers):
    """A function that composes a student of both teachers."""
    both = [f"callbacks.distillation.teachers=[{teachers}/cnn_*]", "callbacks=distillation"]
    return lambda *overrides: composed(*STUDENT, *both, *overrides)


@pytest.fixture(scope="module")
def student(distill, tmp_path_factory):
    """A student that averages its weights, and its summary."""
    run = Run(tmp_path_factory.mktemp("student"))
    summary = train(distill("callbacks=[ema,distillation]", "trainer.max_epochs=4", "optimizer.lr=0.01"), run.folder)
    return run, summary


def checkpoint(run, name="last"):
    return torch.load(run.checkpoints / f"{name}.ckpt", weights_only=True)


@pytest.mark.slow
def test_student_learns_what_its_teachers_predict(student, teachers, tiny):
    run, summary = student
    images = tiny.images["test"]
    expected = torch.stack([load_run(teachers / f"cnn_{seed}").logits(images).softmax(1) for seed in (0, 1)]).mean(0)
    answers = load_run(run.folder).logits(images).softmax(1)
    assert (answers.argmax(1) == expected.argmax(1)).float().mean() > 0.5  # chance is 0.1
    assert summary["status"] == "completed"
    logits = load_run(run.folder).logits(tiny.images["val"])
    assert summary["val"]["loss"] == pytest.approx(F.cross_entropy(logits, tiny.labels["val"]).item(), abs=1e-5)


@pytest.mark.parametrize(("temperature", "label_weight"), [(1.0, 0.0), pytest.param(2.0, 0.25, marks=pytest.mark.slow)])
def test_training_loss_is_the_cross_entropy_with_the_mean_of_the_probabilities(
    temperature, label_weight, distill, teachers, tmp_path, composed
):
    recorder = Recorder()
    more = [f"callbacks.distillation.temperature={temperature}", f"callbacks.distillation.label_weight={label_weight}"]
    still = ["optimizer.lr=1e-30", "model.dropout=0", "model.batch_norm=false", "trainer.max_epochs=1"]
    train(distill(*more, *still), tmp_path, callbacks=[recorder])
    images, labels = recorder.first
    predictors = [load_run(teachers / f"cnn_{seed}") for seed in (0, 1)]
    targets = sum((each.logits(images) / temperature).softmax(1) for each in predictors) / 2
    logits = load_run(tmp_path).logits(images)
    soft = F.cross_entropy(logits / temperature, targets) * temperature**2
    expected = (1 - label_weight) * soft + label_weight * F.cross_entropy(logits, labels)
    assert recorder.loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.slow
def test_summary_report_and_checkpoint_record_the_teachers_but_not_their_weights(student, teachers):
    run, summary = student
    assert [teacher["run"] for teacher in summary["teachers"]] == [str(teachers / f"cnn_{seed}") for seed in (0, 1)]
    sums = [(teachers / f"cnn_{seed}" / "checkpoints" / "best.ckpt.sha256").read_text().split()[0] for seed in (0, 1)]
    assert [teacher["sha256"] for teacher in summary["teachers"]] == sums
    moved = "callbacks.distillation.teachers"
    assert config_to_resume(run, [f"{moved}=[elsewhere/cnn_*]"]).callbacks.distillation.teachers == ["elsewhere/cnn_*"]
    assert f"{teachers}/cnn_*" in run.report_html.read_text()
    assert "Distillation" not in checkpoint(run)["callbacks"]
    assert {tuple(value.shape) for value in checkpoint(run)["state_dict"].values()} >= {(16, 784)}
    assert all(value.dim() < 4 for value in checkpoint(run)["state_dict"].values())  # no convolution


@pytest.mark.slow
def test_resumed_student_is_bit_identical_and_other_teachers_are_rejected(distill, student, teachers, tmp_path):
    overrides = ["callbacks=[ema,distillation]", "optimizer.lr=0.01"]
    train(distill(*overrides, "trainer.max_epochs=2"), tmp_path)
    other = [*overrides, f"callbacks.distillation.teachers=[{teachers}/cnn_1]"]
    with pytest.raises(ValueError, match=r"distillation\.teachers: .*the run was trained with other teachers.*cnn_0, "):
        train(distill(*other, "trainer.max_epochs=4"), tmp_path, resume=True)
    train(distill(*overrides, "trainer.max_epochs=4"), tmp_path, resume=True)
    run, expected = Run(tmp_path), student[0]
    assert run.metrics_csv.read_bytes() == expected.metrics_csv.read_bytes()
    for key in ("state_dict", "current_model_state"):
        resumed, uninterrupted = checkpoint(run)[key], checkpoint(expected)[key]
        assert all(torch.equal(value, uninterrupted[name]) for name, value in resumed.items())


def test_teacher_that_has_seen_validation_images_is_rejected(distill, teachers, tmp_path):
    with pytest.raises(ValueError, match=r"cnn_0 was trained on .* another split \(split_sha256 differs\)"):
        train(distill("data.split_seed=1"), tmp_path)


def test_teacher_without_a_checkpoint_is_rejected(distill, teachers, tmp_path):
    shutil.copytree(teachers / "cnn_0", tmp_path / "empty")
    (tmp_path / "empty" / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(Exception, match="empty has no checkpoint"):
        train(distill(f"callbacks.distillation.teachers=[{tmp_path}/empty]"), tmp_path / "run")


def test_command_rejects_missing_teachers_before_anything_is_created(command, tmp_path):
    answer = command("callbacks=distillation", "callbacks.distillation.teachers=[outputs/none_*]")
    assert "callbacks.distillation.teachers=outputs/none_*: matches no run directory" in answer.stderr
    assert not list(tmp_path.iterdir())
