import re
import subprocess
import sys

import pytest
import torch

from fmnist_lightning.config import devices, machine, validate
from fmnist_lightning.config.devices import num_gpus
from fmnist_lightning.config.validate import validate_command_line

BAD = {
    # misspelled group, option or key; also with a +, which Hydra itself accepts
    "modle=cnn": ["modle=cnn: no such group or key; did you mean model=cnn?"],
    "model=resnet": ["model=resnet: allowed are ann, cnn; docs/add-your-own-model.md"],
    "optimizer=AdamW": ["did you mean optimizer=adamw?"],
    "hidden=[64]": ["use model.hidden=[64] with model=ann"],
    "model.hidden=[64]": ["use model.hidden=[64] with model=ann. model has filters"],
    "model=cnnn": ["model=cnnn", "allowed are ann, cnn", "did you mean model=cnn?"],
    "optimizer.lrr=1": ["optimizer.lrr=1", "did you mean optimizer.lr=1?", "weight_decay"],
    "+optimizer.lrr=1": ["+optimizer.lrr=1", "did you mean optimizer.lr=1?"],
    "++trainer.max_epoch=1": ["did you mean trainer.max_epochs?"],
    # options of other templates
    "lr=0.1": ["lr=0.1: no such group or key; use optimizer.lr=0.1"],
    "epochs=5": ["use trainer.max_epochs=5"],
    "batch_size=32": ["use data.batch_size=32"],
    "gpus=1": ["use trainer.accelerator=gpu trainer.devices=1"],
    "gpus=0": ["use trainer.accelerator=cpu"],
    "device=cuda": ["use trainer.accelerator=gpu"],
    "patience=3": ["did you mean callbacks.early_stopping.patience=3?"],
    "fast_dev_run=true": ["did you mean +trainer.fast_dev_run=true?"],
    "debug=default": ["use +trainer.fast_dev_run=true"],
    "+debug=overfit": ["use +trainer.overfit_batches=3"],
    "ckpt_path=last.ckpt": ["use resume=DIR", "fmnist_lightning.evaluate run=DIR"],
    "train=false": ["every run trains", "fmnist_lightning.evaluate run=DIR"],
    "test=false": ["tested once"],
    "task_name=mine": ["use hydra.run.dir=outputs/mine"],
    "tags=[dev]": ["use hydra.run.dir=outputs/NAME"],
    "paths.data_dir=x": ["use data.root=DIR"],
    "extras.print_config=false": ["--cfg job"],
    "hparams_search=mnist_optuna": ["use -m with comma lists"],
    "data=mnist": ["allowed are auto, fashion_mnist, synthetic", "use data=fashion_mnist"],
    "callbacks=many": ["allowed are default, distillation, ema"],
    "logger=many_loggers": ["allowed are csv, mlflow, none, tensorboard, wandb", "logger=[tensorboard,csv]"],
    "logger=[tensorboard,cvs]": ["logger=cvs: allowed are csv", "did you mean logger=csv?"],
    "~callbacks.early_stoping": ["did you mean callbacks.early_stopping?"],
    "experiment=paper": ["allowed are best_ann, best_cnn, cnn_20_epochs, cnn_5_epochs, distilled_ann, fast_cnn"],
    "data.augment=[flip,": ["a list has no spaces, or is in quotes: 'KEY=[A, B]'"],
    # wrong type
    "callbacks.early_stopping=null": ["set key by key", "or removed by '~callbacks.early_stopping'"],
    "optimizer.lr=fast": ["optimizer.lr=fast", "a number above 0"],
    "trainer.max_epochs=1.5": ["trainer.max_epochs=1.5", "an integer, at least 1"],
    "data.augment=3": ["true, false, photos or a list of flip, crop, erase"],
    "data.augment=[flip,turn]": ["data.augment=[flip,turn]:", "such as [flip,erase]"],
    "data.erase_area=[0.2,0.1]": ["the smaller one first"],
    "callbacks.best_checkpoint.save_on_train_epoch_end=5": ["true or false"],
    "callbacks.checkpoint.every_n_train_steps=0": ["null or an integer, at least 1"],
    "resume=": ["null, auto, or the directory of a run"],
    "model=3": ["allowed are ann, cnn"],
    "model.filters=32": ["a list of 1 to 4 integers"],
    "callbacks=distillation": ["callbacks.distillation.teachers=[]: must be a list of run directories or patterns"],
    # out of range
    "optimizer.lr=-1": ["optimizer.lr=-1", "above 0"],
    "optimizer.lr=0": ["optimizer.lr=0", "above 0"],
    "optimizer.lr=nan": ["optimizer.lr=nan", "above 0"],
    "optimizer.lr=inf": ["optimizer.lr=inf", "above 0"],
    "data.batch_size=0": ["data.batch_size=0", "at least 1"],
    "trainer.max_epochs=0": ["trainer.max_epochs=0", "at least 1"],
    "data.val_fraction=1": ["data.val_fraction=1", "between 0 and 1"],
    "seed=-1": ["seed=-1", "from 0 to 4294967295"],
    "seed=4294967296": ["from 0 to 4294967295"],
    "model.dropout=1.5": ["model.dropout=1.5", "from 0 to below 1"],
    "model.filters=[]": ["model.filters=[]", "1 to 4"],
    "model.kernel_size=2": ["model.kernel_size=2", "an odd integer"],
    "trainer.accelerator=gppu": ["one of auto, cpu, gpu"],
    "trainer.precision=8": ["32-true", "bf16-mixed"],
    "trainer.limit_train_batches=0": ["at least 1"],
    "trainer.devices=0": ["at least 1"],
    # a comma list without -m
    "optimizer.lr=1e-3,1e-4": ["optimizer.lr=1e-3,1e-4", "-m"],
    "seed=range(0,3)": ["-m"],
    # not an override at all
    "seed": ["seed"],
    "a b": ["a b: not readable as KEY=VALUE"],
    "data.root=~/x": ["not readable as KEY=VALUE; ~ is not expanded, type data.root=$HOME/x"],
    "hydra/launcher=cluster": ["allowed are basic"],
    # only detected in the composed configuration
    "callbacks.early_stopping={patience:-5}": ["callbacks.early_stopping.patience=-5", "at least 1"],
    "++callbacks.early_stopping={foo:1}": ["callbacks.early_stopping.foo: no such key"],
    "optimizer.lr=${nothing.here}": ["nothing"],
    "trainer.max_epochs=${seed}": ["trainer.max_epochs=0", "at least 1"],
    "model._target_=os.system": ["model._target_=os.system: no such key"],
    "trainer.strategy=dpp": ["one of auto, ddp"],
    "callbacks.early_stopping.monitor=val/los": ["val/loss, val/accuracy"],
    "callbacks.best_checkpoint.monitor=test/loss": ["val/loss, val/accuracy"],
    # required by every run
    "~seed": ["cannot be removed"],
    "~data": ["data=..."],
    "~callbacks.epoch_metrics": ["cannot be removed"],
    "~callbacks.best_checkpoint": ["cannot be removed"],
    "model=null": ["model=null", "allowed are ann, cnn"],
    # devices
    "trainer.devices=[-5]": ["trainer.devices=[-5]"],
}


@pytest.mark.parametrize("typed", BAD)
def test_invalid_override_is_rejected_with_its_key_and_what_is_allowed(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as refusal:
        validate_command_line([typed])
    for words in BAD[typed]:
        assert words in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["model=ann", "model.hidden=[]", "optimizer=sgd", "scheduler=cosine"],
        ["~callbacks.early_stopping", "trainer.max_epochs=3"],
        ["experiment=smoke", "seed=0"],
        ["optimizer.lr=1", "optimizer.betas=[0.5,0.9]", "trainer.limit_train_batches=0.5"],
        ["logger=none", "trainer.gradient_clip_val=1.0", "trainer.devices=auto"],
        ["hydra.run.dir=elsewhere"],
    ],
)
def test_valid_overrides_are_accepted(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validate_command_line(typed)
    assert list(tmp_path.iterdir()) == []


def test_every_value_and_group_choice_of_a_sweep_is_validated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validate_command_line(["model=ann,cnn", "optimizer.lr=1e-4,1e-3", "seed=range(0,3)"], multirun=True)
    with pytest.raises(ValueError, match="model=cnm: allowed are ann, cnn"):
        validate_command_line(["model=ann,cnm"], multirun=True)
    with pytest.raises(ValueError, match=r"optimizer\.lr=-0\.1: must be a number above 0"):
        validate_command_line(["optimizer.lr=0.1,-0.1"], multirun=True)
    with pytest.raises(ValueError, match=r"model\.filters=\[8\]: no such key"):
        validate_command_line(["model=cnn,ann", "model.filters=[8]"], multirun=True)


def fake_gpus(monkeypatch, number):
    """Makes the driver report this number of GPUs, on Linux."""
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")
    for module in (machine, devices):
        monkeypatch.setattr(module, "num_gpus", lambda: number)


@pytest.mark.parametrize(
    ("typed", "gpus", "words"),
    [
        (["trainer.accelerator=gpu"], 0, "no such device according to this machine's driver; cpu and auto"),
        (["trainer=gpu"], 0, "trainer.accelerator=gpu: no such device"),
        (["trainer.accelerator=cuda"], 0, "no such device"),
        (["trainer.accelerator=mps"], 1, "trainer.accelerator=mps: no such device"),
        (["trainer.accelerator=gpu", "trainer.devices=3"], 2, "trainer.devices=3: this machine has 2 GPUs"),
        (["trainer.accelerator=gpu", "trainer.devices=[0,7]"], 1, "this machine has 1 GPU"),
        (["trainer.precision=16-mixed"], 0, "needs a GPU; auto, 32-true and bf16-mixed are allowed on a CPU"),
        (["trainer=ddp"], 1, "trainer.devices=2: this machine has 1 GPU"),
        (["trainer.accelerator=cpu", "trainer.devices=[0]"], 0, "a CPU has no device indices"),
        (["trainer.devices=100000"], 0, "trainer.devices=100000: must be at most "),
    ],
)
def test_missing_device_is_rejected(typed, gpus, words, monkeypatch):
    fake_gpus(monkeypatch, gpus)
    with pytest.raises(ValueError, match=re.escape(words)):
        validate_command_line(typed)


@pytest.mark.skipif(sys.platform != "linux", reason="CUDA's driver is asked on Linux")
def test_driver_and_torch_count_the_same_gpus():
    assert num_gpus() == torch.cuda.device_count()


def test_config_for_another_machine_can_be_shown(monkeypatch):
    fake_gpus(monkeypatch, 0)
    validate_command_line(["trainer=gpu", "hydra.run.dir=/proc/runs"], check_hardware=False)
    with pytest.raises(ValueError, match="must be one of auto, cpu, gpu"):
        validate_command_line(["trainer.accelerator=gppu"], check_hardware=False)


def test_every_device_of_a_sweep_is_validated(monkeypatch):
    fake_gpus(monkeypatch, 0)
    with pytest.raises(ValueError, match="accelerator=gpu: no such device"):
        validate_command_line(["trainer.accelerator=cpu,gpu"], multirun=True)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["optimizer=sgd", "optimizer.momentum=0"], "add optimizer.nesterov=false"),
        (
            ["callbacks=distillation", "callbacks.distillation.teachers=[A]", "model.label_smoothing=0.1"],
            "add model.label_smoothing=0.0",
        ),
        (["data.batch_size=1"], "add model.batch_norm=false"),
        (["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0"], "add optimizer.fused=false"),
    ],
)
def test_conflicting_values_are_rejected_with_a_remedy(typed, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        validate_command_line(typed)
    validate_command_line([*typed, words.removeprefix("add ")])


@pytest.mark.parametrize(("model", "layers"), [("cnn", "model.head=[]"), ("ann", "model.hidden=[]")])
def test_muon_without_a_hidden_dense_layer_is_rejected(model, layers):
    with pytest.raises(ValueError, match=re.escape(f"{layers}: optimizer=muon needs a hidden dense layer")):
        validate_command_line([f"model={model}", layers, "optimizer=muon"])
    validate_command_line([f"model={model}", layers, "optimizer=adamw"])


def test_sweep_of_ddp_runs_or_into_another_sweep_is_rejected(validate_command, tmp_path):
    with pytest.raises(ValueError, match="start the runs one by one"):
        validate_command_line(["trainer=ddp", "trainer.accelerator=cpu", "seed=1,2"], multirun=True)
    (tmp_path / "multirun.yaml").write_text("hydra: {overrides: {task: ['seed=1,2']}}")
    with pytest.raises(ValueError, match=r"hydra\.sweep\.dir=.*: already contains another sweep or runs"):
        validate_command("-m", "seed=1,2,3", f"hydra.sweep.dir={tmp_path}")
    validate_command("-m", "seed=1,2", f"hydra.sweep.dir={tmp_path}")  # the same one resumes


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("seed=range(0,0)", "an empty list"),
        ("optimizer.lr=1e-3,0.001", "0.001 is listed twice"),
        ("model=ann,cnn,ann", "ann is listed twice"),
        ("hydra/launcher=jobli", "did you mean hydra/launcher=joblib"),
        ("optimizer.lrs=1,2", "did you mean optimizer.lr"),
    ],
)
def test_invalid_sweep_is_rejected(typed, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        validate_command_line([typed, "seed=1,2"] if "seed" not in typed else [typed], multirun=True)


def test_missing_launcher_is_rejected_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"hydra/launcher=joblib: not installed; pip install 'fmnist_lightning\[sweep\]'"
    ):
        validate_command_line(["hydra/launcher=joblib", "seed=1,2"], multirun=True)


def test_cluster_launcher_is_rejected_without_a_cluster(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ValueError, match="hydra/launcher=slurm: no Slurm on this machine"):
        validate_command_line(["hydra/launcher=slurm", "seed=1,2"], multirun=True)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    validate_command_line(["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "seed=1,2"], multirun=True)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
TORCHRUN |= {"LOCAL_RANK": "0", "GROUP_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
MACHINES = ["trainer=ddp", "trainer.accelerator=cpu"]


@pytest.mark.parametrize("rank", ["0", "3"])
def test_every_torchrun_process_reports_a_mismatch(rank, tmp_path, monkeypatch):
    for name, value in (TORCHRUN | {"RANK": rank}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"trainer\.devices: 1 of this machine.*started 2; set trainer\.devices=2"):
        validate_command_line([*MACHINES, "trainer.devices=1", "trainer.num_nodes=2"])
    with pytest.raises(ValueError, match=r"trainer\.num_nodes=1: .*4 processes on 2 machines.*trainer\.num_nodes=2"):
        validate_command_line(MACHINES)
    with pytest.raises(ValueError, match=r"own clock; name one for all: hydra\.run\.dir=outputs/NAME"):
        validate_command_line([*MACHINES, "trainer.num_nodes=2"])
    validate_command_line([*MACHINES, "trainer.num_nodes=2", f"hydra.run.dir={tmp_path}/run"])
    with pytest.raises(ValueError, match="start the runs one by one"):
        validate_command_line([*MACHINES, "trainer.num_nodes=2", "seed=1,2"], multirun=True)


def test_resumed_run_is_validated_by_its_own_config(monkeypatch):
    for name, value in (TORCHRUN | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    validate_command_line(["resume=outputs/run", "hydra.run.dir=/proc/runs"])
    with pytest.raises(ValueError, match=r"trainer\.devices"):
        validate_command_line(["resume=auto"])


def test_several_machines_without_torchrun_are_rejected():
    with pytest.raises(ValueError, match=r"trainer\.num_nodes=2: several machines are launched by torchrun"):
        validate_command_line([*MACHINES, "trainer.num_nodes=2"])


def test_glob_and_quoted_options_are_accepted():
    validate_command_line(["model=glob(*)"], multirun=True)
    validate_command_line(["model='cnn'"])


def test_unwritable_run_directory_is_rejected(validate_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("a file in the way")
    with pytest.raises(ValueError, match=r"hydra\.run\.dir=outputs.*outputs is not a directory"):
        validate_command()
    with pytest.raises(ValueError, match=r"hydra\.run\.dir=/proc/runs: cannot write there"):
        validate_command("hydra.run.dir=/proc/runs")
    with pytest.raises(ValueError, match=r"hydra\.run\.dir=x+: cannot write there"):
        validate_command("hydra.run.dir=" + 300 * "x")
    with pytest.raises(ValueError, match=re.escape("~ is not expanded; type hydra.run.dir=$HOME/x")):
        validate_command("hydra.run.dir='~/x'")


def test_directory_with_a_run_is_rejected(validate_command, tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match="already contains a run; not overwritten"):
        validate_command(f"hydra.run.dir={tmp_path}")


def test_invalid_value_in_a_config_file_is_rejected(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  dropout: 2\n")
    with pytest.raises(ValueError, match=r"model\.dropout=2: must be a number from 0 to below 1"):
        validate_command_line(["experiment=mine"], config_dir=str(tmp_path))
    (tmp_path / "experiment" / "mine.yaml").write_text("model:\n  dropout: 0.2\n")
    with pytest.raises(ValueError, match="the first line of its file must be '# @package _global_'"):
        validate_command_line(["experiment=mine"], config_dir=str(tmp_path))


def test_missing_config_directory_is_rejected():
    with pytest.raises(ValueError, match="--config-dir=/nowhere: no such directory"):
        validate_command_line([], config_dir="/nowhere")


def test_hundreds_of_seeds_are_validated_by_their_values_alone(monkeypatch):
    validated = []
    monkeypatch.setattr(validate, "validate_config", lambda cfg, known: validated.append(cfg))
    grid = ["model=ann", "optimizer.lr=1e-4,1e-3", "seed=range(0,240)"]
    validate_command_line(grid, multirun=True)
    assert len(validated) == 2
    with pytest.raises(ValueError, match="seed=-1: must be an integer from 0"):
        validate_command_line([*grid[:2], "seed=0,1,-1"], multirun=True)


def test_validation_imports_no_torch():
    validate = (
        "from fmnist_lightning.config.validate import validate_command_line; validate_command_line(['model=ann'])"
    )
    program = f"import sys; {validate}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
