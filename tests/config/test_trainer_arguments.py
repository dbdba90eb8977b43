"""+trainer.KEY takes the arguments of lightning.Trainer; a run on a part of the data says so."""

import subprocess
import sys

import pytest

from fmnist_lightning.config.trainer_arguments import trainer_arguments
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.evaluation.sweep_page import sweep_files
from fmnist_lightning.runs.ranking import best, ranked
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep import Sweep


@pytest.mark.parametrize(
    "typed",
    [
        "fast_dev_run=true",
        "++trainer.fast_dev_run=2",
        "profiler=simple",
        "overfit_batches=0.5",
        "val_check_interval=0.25",
        "min_epochs=3",
        "max_time=00:01:00:00",
        "max_time={hours:1}",
        "max_steps=100",
        "inference_mode=false",
        "sync_batchnorm=true",
        "log_every_n_steps=1",
    ],
)
def test_argument_of_the_trainer_is_accepted(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validate_command_line([typed if typed.startswith("+") else f"+trainer.{typed}"])


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("+trainer.fast_dev=true", r"no such argument; did you mean \+trainer.fast_dev_run\?"),
        ("trainer.fast_dev_run=true", r"type \+trainer.fast_dev_run=true"),
        ("+trainer.min_epochs=1.5", "trainer.min_epochs=1.5: must be an integer or null"),
        ("+trainer.inference_mode=3", "trainer.inference_mode=3: must be true or false"),
        ("+trainer.val_check_interval=1.5", r"trainer.val_check_interval=1.5: must be a fraction"),
        ("+trainer.profiler=fast", "trainer.profiler=fast: must be one of null, simple, advanced, pytorch"),
        ("+trainer.max_steps=0", "trainer.max_steps=0: must be"),
        ("+trainer.callbacks=[]", "trainer.callbacks: set by fmnist_lightning; use the config group callbacks"),
        ("+trainer.logger=false", "use the config group logger"),
        ("+trainer.default_root_dir=x", "use hydra.run.dir=DIR"),
        ("+trainer.limit_test_batches=1", "the test set is always scored completely"),
        ("+trainer.barebones=true", "fast_dev_run"),
    ],
)
def test_wrong_argument_is_rejected_by_name(typed, words):
    with pytest.raises(ValueError, match=words):
        validate_command_line([typed])


def test_arguments_in_a_sweep_and_in_an_experiment_are_validated(tmp_path):
    (tmp_path / "experiment").mkdir()
    for name, value in (("good", "0.5"), ("wrong", "[1]"), ("own", "0.5\n  plugins: evil")):
        text = f"# @package _global_\ntrainer:\n  val_check_interval: {value}\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    validate_command_line(["experiment=good", "+trainer.min_epochs=1,2"], multirun=True, config_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"trainer\.min_epochs=x"):
        validate_command_line(["+trainer.min_epochs=1,x"], multirun=True)
    with pytest.raises(ValueError, match=r"trainer\.val_check_interval=\[1\]: must be"):
        validate_command_line(["experiment=wrong"], config_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"trainer\.plugins: set by fmnist_lightning"):
        validate_command_line(["experiment=own"], config_dir=str(tmp_path))


def test_signature_is_read_without_importing_lightning():
    validate = "from fmnist_lightning.config.validate import validate_command_line as v; v(['+trainer.min_epochs=1'])"
    program = f"import sys; {validate}; print('torch' in sys.modules, 'lightning' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


def test_signature_is_that_of_lightning():
    import inspect

    import lightning.pytorch as pl

    assert list(trainer_arguments()) == list(inspect.signature(pl.Trainer).parameters)


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"limit_train_batches": 1.0, "limit_val_batches": 10, "max_epochs": 2, "profiler": "simple"}, None),
        ({"limit_train_batches": 2}, "trainer.limit_train_batches=2"),
        ({"limit_train_batches": 1}, "trainer.limit_train_batches=1"),  # batch, not the share 1.0
        ({"limit_val_batches": 0.5}, "trainer.limit_val_batches=0.5"),
        ({"overfit_batches": 0.0, "fast_dev_run": False, "max_steps": -1, "max_time": None}, None),
        ({"overfit_batches": 2, "fast_dev_run": True}, "trainer.overfit_batches=2, trainer.fast_dev_run=true"),
        ({"max_steps": 10, "max_time": "00:01:00:00"}, "trainer.max_steps=10, trainer.max_time=00:01:00:00"),
    ],
)
def test_partial_names_the_overrides_that_limit_the_data(trainer, expected):
    from fmnist_lightning.training.prepare import partial_overrides

    assert partial_overrides(trainer, {"train": 10, "val": 3}) == expected


def test_fast_dev_run_is_partial_and_leaves_no_checkpoint(composed, tmp_path):
    from fmnist_lightning.training.run import train

    summary = train(composed("model=ann", "+trainer.fast_dev_run=true"), tmp_path / "run", [])
    assert (summary["status"], summary["partial"]) == ("partial", "trainer.fast_dev_run=true")
    assert "test" not in summary
    assert not Run(tmp_path / "run").checkpoints.exists()
    assert Run(tmp_path / "run").read_status() == "partial"


def test_overfit_batches_trains_on_the_same_batches_and_profiler_writes_to_the_run(composed, tmp_path):
    from fmnist_lightning.training.run import train

    cfg = composed("model=ann", "+trainer.overfit_batches=2", "+trainer.profiler=simple", "trainer.max_epochs=20")
    summary = train(cfg, tmp_path / "run", [])
    assert (summary["status"], summary["partial"]) == ("completed", "trainer.overfit_batches=2")
    assert Run(tmp_path / "run").read_metrics()[-1]["train/accuracy"] > 0.9
    assert "trainer.overfit_batches=2" in Run(tmp_path / "run").report_html.read_text()
    assert "run_training_epoch" in (tmp_path / "run" / "fit-profile.txt").read_text()


def test_partial_job_is_never_best(tmp_path):
    scores = {"loss": 1.0, "accuracy": 0.5}
    for name, loss, partial in (("full", 1.0, None), ("part", 0.1, "trainer.max_steps=3")):
        run = Run(tmp_path / name)
        run.folder.mkdir()
        summary = {
            "status": "completed",
            "overrides": [f"seed={name}"],
            "partial": partial,
            "val": scores | {"loss": loss},
        }
        summary |= {
            "test": scores,
            "data": "synthetic",
            "data_sha256": "a",
            "split_sha256": "b",
            "precision": "32-true",
        }
        run.write_summary(summary)
    rows = Sweep(tmp_path).rows()
    assert [row["job"] for row in ranked(rows)] == ["full", "part"]
    assert best(rows)["job"] == "full"
    Run(tmp_path / "full").summary_json.unlink()
    assert best(Sweep(tmp_path).rows()) is None
    Sweep(tmp_path).update(sweep_files)
    assert "trainer.max_steps=3" in (tmp_path / "sweep.csv").read_text()
