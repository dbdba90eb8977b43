"""Exactly what a command line starts is validated: its primary config, config files, their sweeps, quoted values."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fmnist_lightning import __version__
from fmnist_lightning.config.command_line import parse_command_line
from fmnist_lightning.config.commands import PACKAGE, other_commands
from fmnist_lightning.config.help import help_text
from fmnist_lightning.config.options import read_options
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.runs.resume import config_to_resume
from fmnist_lightning.runs.run import Run

HYDRA = ("output_subdir", "job.name", "run.dir", "sweep.dir", "sweep.subdir")  # keys that have no comment
SWEEP = "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      "


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def config_dir(tmp_path, monkeypatch):
    """A directory for config files, whose path has a space and a character outside ASCII; the working directory too."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my configs é"
    folder.mkdir()
    return folder


def existing_run(folder: Path) -> dict[Path, bytes]:
    """A directory with a run's files, and their content."""
    write(folder / "summary.json", '{"status": "completed", "overrides": []}')
    write(folder / ".hydra" / "config.yaml", "seed: 3\n")
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_named_primary_config_is_validated(validate_command, config_dir, tmp_path):
    files = existing_run(tmp_path / "run")
    write(config_dir / "b.yaml", "defaults: [config, _self_]\nseed: 9\nhydra: {run: {dir: run}}\n")
    with pytest.raises(ValueError, match=r"hydra\.run\.dir=run: already contains a run"):
        validate_command("--config-dir", str(config_dir), "--config-name", "b")
    write(config_dir / "c.yaml", "defaults: [config, _self_]\nmodel: {dropout: 7}\n")
    with pytest.raises(ValueError, match=r"model\.dropout=7"):
        validate_command_line([], config_dir=str(config_dir), config_name="c")
    write(config_dir / "d.yaml", "seed: 1\n")  # not based on config.yaml
    with pytest.raises(ValueError, match="data: missing from the configuration"):
        validate_command_line([], config_dir=str(config_dir), config_name="d")
    assert {path: path.read_bytes() for path in files} == files


def test_rejected_command_leaves_every_file_of_an_existing_run(config_dir, tmp_path):
    files = existing_run(tmp_path / "run")
    write(config_dir / "b.yaml", "defaults: [config, _self_]\nseed: 9\nhydra: {run: {dir: run}}\n")
    flags = ["--config-dir", str(config_dir)]
    for arguments in (
        [*flags, "--config-name", "b"],
        ["hydra.run.dir=run", "data=synthetic"],
        ["hydra.run.dir=run", "hydra.output_subdir=.hydra"],
        ["-m", "hydra.sweep.dir=.", "hydra.sweep.subdir=run", "seed=1,2"],
        ["hydra.mode=MULTIRUN", "hydra.sweep.dir=.", "hydra.sweep.subdir=run", "seed=1"],
    ):
        command = [sys.executable, "-m", "fmnist_lightning", *arguments]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert answer.returncode == 1, arguments
        (line,) = answer.stderr.splitlines()
        assert line.startswith("error: ")
        found = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        assert found == files, arguments


@pytest.mark.parametrize("mode", [["-m"], []])
@pytest.mark.parametrize(
    ("param", "typed", "message"),
    [
        ("trainer.limit_train_batches: '0,1.0'", [], r"trainer\.limit_train_batches=0: must be"),
        ("callbacks.best_checkpoint.monitor: val/loss,test/accuracy", [], "monitor=test/accuracy: must be"),
        (
            "optimizer.lr: interval(1e-4,1e-2)",
            [],
            r"hydra\.sweeper\.params: optimizer\.lr=interval.*interval\(\) lists",
        ),
        ("model: ann,cnnn", [], "model=cnnn: allowed are"),
        ("optimizer.lrr: 1,2", [], "did you mean optimizer.lr"),
        ("seed: 1,2", ["trainer.max_epochs=0"], r"trainer\.max_epochs=0"),
        ("seed: 1,2", ["hydra.sweep.dir=taken"], r"hydra\.sweep\.dir=taken: already contains another sweep or runs"),
        ("seed: 1,2", ["resume=auto"], "resume=auto: resumes a single run"),
    ],
)
def test_sweep_declared_in_a_config_file_is_validated(
    mode, param, typed, message, validate_command, config_dir, tmp_path
):
    existing_run(tmp_path / "taken" / "0")
    write(config_dir / "experiment" / "grid.yaml", f"# @package _global_\n{SWEEP}{param}\n")
    with pytest.raises(ValueError, match=message):
        validate_command("--config-dir", str(config_dir), *mode, "experiment=grid", *typed)


def test_typed_values_replace_those_of_a_sweep_in_a_config_file(config_dir):
    write(config_dir / "experiment" / "grid.yaml", f"# @package _global_\n{SWEEP}model.dropout: 0.1,7\n")
    launch = validate_command_line(["experiment=grid", "model.dropout=0.3"], config_dir=str(config_dir))
    assert launch.multirun
    assert not validate_command_line(
        ["experiment=grid", "hydra.mode=RUN", "model.dropout=0.3"], True, str(config_dir)
    ).multirun


def test_sweep_whose_config_file_changed_is_another_sweep(validate_command, config_dir, tmp_path):
    grid = write(config_dir / "experiment" / "grid.yaml", f"# @package _global_\n{SWEEP}seed: 1,2\n")
    stored = {"hydra": {"overrides": {"task": ["experiment=grid"]}, "sweeper": {"params": {"seed": "1,2"}}}}
    write(tmp_path / "sweep" / "multirun.yaml", OmegaConf.to_yaml(OmegaConf.create(stored)))
    existing_run(tmp_path / "sweep" / "0")
    typed = ["--config-dir", str(config_dir), "experiment=grid", "hydra.sweep.dir=sweep"]
    with pytest.raises(ValueError, match="code or configuration changed since 0 was completed"):
        validate_command(*typed)
    grid.write_text(grid.read_text().replace("1,2", "1,3"))
    with pytest.raises(ValueError, match="already contains another sweep or runs"):
        validate_command(*typed)


@pytest.mark.parametrize(
    "subdir", ["fixed", "${seed}", "${model.dropout}_${seed}", "${hydra.runtime.choices.model}${seed}"]
)
def test_jobs_that_would_share_a_directory_are_rejected(subdir, validate_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = ["seed=0,1", "optimizer.lr=1e-3,1e-2", f"hydra.sweep.subdir={subdir}"]
    with pytest.raises(ValueError, match=r"hydra\.sweep\.subdir=.*: two jobs would share the directory"):
        validate_command("-m", *grid)


@pytest.mark.parametrize("subdir", ["${seed}_${optimizer.lr}", "${hydra.job.num}", "${hydra.job.override_dirname}"])
def test_jobs_with_directories_of_their_own_are_accepted(subdir, validate_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    validate_command("-m", "seed=0,1", "optimizer.lr=1e-3,1e-2", f"hydra.sweep.subdir={subdir}")


def test_resume_rejects_a_stored_config_that_is_not_the_runs(composed, tmp_path):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    from fmnist_lightning.runs.provenance import config_sha256

    cfg = composed("model=ann")
    run.create({"status": "interrupted", "overrides": [], "config_sha256": config_sha256(cfg)}, cfg, [])
    assert config_to_resume(run, []).seed == 0
    run.config_file.write_text(run.config_file.read_text().replace("seed: 0", "seed: 9"))
    with pytest.raises(
        ValueError, match=r"config\.yaml: differs from the configuration with which the run was started"
    ):
        config_to_resume(run, [])


def test_stored_config_is_resolved(composed, tmp_path, monkeypatch, data_root):
    monkeypatch.setenv("MY_DATA", str(data_root))
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.create({"status": "running", "overrides": []}, composed("model=ann", "data.root=${oc.env:MY_DATA}"), [])
    assert run.read_config().data.root == str(data_root)


@pytest.mark.parametrize(
    "typed",
    [
        ['trainer.precision="32-true","bf16-mixed"'],
        ["data.root='/data/a b','/data/ü'"],
        ["trainer.limit_train_batches=1,1.0"],  # one batch, and all
        ["model=ann,cnn", "experiment=null"],
        ["+hydra.job.env_set.X=1", "seed=1,2"],
        ["hydra.sweeper.max_batch_size=2", "seed=1,2"],
    ],
)
def test_valid_sweeps_are_accepted(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert validate_command_line(typed, multirun=True).multirun


def test_config_files_in_any_directory_are_found(config_dir):
    write(
        config_dir / "experiment" / "mine.yaml",
        "# @package _global_\nseed: 5\ndata: {root: '${hydra:runtime.output_dir}'}\n",
    )
    validate_command_line(["experiment=mine"], config_dir=str(config_dir))
    validate_command_line(["experiment=mine", f"hydra.searchpath=['file://{config_dir}']"])
    validate_command_line(["experiment=mine", "seed=1,2", f"hydra.searchpath=['file://{config_dir}']"], multirun=True)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("seed=interval(0,9)", r"seed=interval\(0,9\): a sweep runs listed values.*type seed=A,B"),
        ("seed=1,1", "1 is listed twice"),
        ("optimizer.lr=1e-3,0.001", "0.001 is listed twice"),
    ],
)
def test_sweeps_that_cannot_run_name_their_key(typed, message):
    with pytest.raises(ValueError, match=message):
        validate_command_line([typed], multirun=True)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("trainers=false", r"did you mean trainer=cpu\|ddp\|default\|gpu\?"),
        ("modell=cnn", r"did you mean model=cnn\?"),
        ("nothing=1", "Groups are .*; keys are resume, seed$"),
    ],
)
def test_hints_can_be_typed(typed, message):
    with pytest.raises(ValueError, match=message):
        validate_command_line([typed])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("train model=ann", "train: training has no subcommand; type python -m fmnist_lightning model=ann"),
        ("evaluate run=DIR", "evaluate: a command of its own; type python -m fmnist_lightning.evaluate run=DIR"),
        ("eval run=DIR", "eval: did you mean python -m fmnist_lightning.evaluate run=DIR?"),
        ("cnn", "cnn: did you mean model=cnn?"),
        ("seed 3", "seed: write seed=VALUE, without spaces"),
        ("help", "help: did you mean --help?"),
        ("outputs/run", "outputs/run: not KEY=VALUE; a list has no spaces, KEY=A,B; --help lists"),
        ("--model cnn", "--model cnn: write model=cnn"),
        ("--model=resnet", "--model=resnet: write model=ann or model=cnn"),
        ("-model cnn seed=1", "-model cnn: write model=cnn"),
        ("--seed 3", "--seed 3: write seed=3"),
        ("--data.augment seed=3", "--data.augment: write data.augment=VALUE"),
        ("--lr 0.01", "--lr 0.01: use optimizer.lr=0.01"),
        ("--batch-size=64", "--batch-size=64: use data.batch_size=64"),
        ("--patience 3", "--patience 3: did you mean callbacks.early_stopping.patience=3?"),
        ("--wandb", "--wandb: did you mean logger=wandb?"),
        ("--multi-run seed=1,2", "--multi-run: did you mean --multirun?"),
        ("-e 3", "-e 3: no such flag; values are set by KEY=VALUE"),
        ("--cfg jobs", "argument --cfg/-c: invalid choice: 'jobs'"),
        ("--config-dir", "argument --config-dir/-cd: expected one argument"),
    ],
)
def test_habits_of_other_commands_are_rejected_with_what_to_type(typed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_command_line(typed.split())


def test_flags_are_parsed_as_hydra_does():
    typed = ["seed=1,2", "--multi", "-cd", "mine", "-cn=b", "-cjob", "~callbacks.early_stopping", "model.hidden=[]"]
    arguments = parse_command_line(typed)
    assert (arguments.multirun, arguments.config_dir, arguments.config_name) == (True, "mine", "b")
    assert arguments.cfg == "job"
    assert arguments.overrides == ["seed=1,2", "~callbacks.early_stopping", "model.hidden=[]"]
    assert parse_command_line(["-sc", "query=bash"]).shell_completion


def test_help_has_examples_that_run_and_every_option_and_key_with_its_comment():
    text = help_text(width=80)
    assert max(map(len, text.splitlines())) <= 80
    examples = [line.split("  ")[1] for line in text.partition("\n\nOptions")[0].splitlines() if line.startswith("  ")]
    assert len(examples) > 5
    for example in examples:
        arguments = parse_command_line(example.split()[3:])
        validate_command_line([typed for typed in arguments.overrides if "gpu" not in typed], arguments.multirun)
    assert "\n  optimizer.fused=true            one kernel for all parameters" in text
    assert "(optimizer=muon|sgd) factor of" in text
    assert "\n  model=cnn (default)             The paper's convolutional network" in text
    keys = [key for option in read_options() if option.group != "experiment" for key in option.keys]
    documented = {key.name for key in keys if key.comment}
    assert {key.name for key in keys} - documented <= {"hydra." + name for name in HYDRA}
    for name in documented:
        assert f"\n  {name}" in text
    for option in read_options():
        assert option.group == "" or f"\n  {option.group}={option.name} " in text


def test_help_has_a_line_for_each_of_the_other_commands():
    assert {"evaluate", "reproduce", "benchmark"} <= other_commands().keys()
    for name, description in other_commands().items():
        assert re.search(rf"^  python -m fmnist_lightning\.{name} +{description[:20]}", help_text(), re.MULTILINE)
        docstring = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text()))
        assert f"python -m fmnist_lightning.{name} " in docstring


def test_help_has_the_options_of_the_users_own_config_files(config_dir):
    write(config_dir / "model" / "mine.yaml", "# A model of mine.\n_target_: mine.Model\nwidth: 3 # of its layer\n")
    text = help_text(str(config_dir), width=80)
    assert "\n  model=mine                      A model of mine." in text
    assert "\n  model.width=3                   (model=mine) of its layer" in text


def test_other_commands_have_version_and_help(command):
    assert command("--version", module="fmnist_lightning.evaluate").stdout == f"fmnist_lightning {__version__}\n"
    usage = command("-h", module="fmnist_lightning.evaluate").stdout
    assert "\npython -m fmnist_lightning.evaluate run=DIR " in usage


@pytest.mark.slow
def test_sweep_from_a_config_file_runs_and_repeats(config_dir, data_root, tmp_path):
    """Its jobs are validated and resumed; a second run of the same command finds them completed."""
    text = f"# @package _global_\n{SWEEP}seed: 1,2\n"
    write(config_dir / "experiment" / "grid.yaml", text.replace("hydra:\n", "hydra:\n  sweep: {dir: sweep}\n", 1))
    tiny = ["data=synthetic", "data.num_train=400", "data.num_test=100", f"data.root={data_root}"]
    command = [
        sys.executable,
        "-m",
        "fmnist_lightning",
        "--config-dir",
        str(config_dir),
        "experiment=grid",
        "model=ann",
    ]
    command += [*tiny, "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    first, second = (
        subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240) for _ in range(2)
    )
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    best = next(line for line in second.stdout.splitlines() if line.startswith("best by mean validation loss"))
    repeat = shlex.split(best.partition("python -m fmnist_lightning ")[2])
    assert repeat[:3] == ["--config-dir", str(config_dir), "hydra.mode=RUN"]
    assert not validate_command_line(repeat[2:], config_dir=str(config_dir)).multirun
    assert second.stdout.count("already completed") == 2
    jobs = [Run(path.parent) for path in (tmp_path / "sweep").rglob("summary.json")]
    assert sorted(run.read_config().seed for run in jobs) == [1, 2]
    assert not list((tmp_path / "sweep").rglob(".*.lock"))
    assert not list(jobs[0].folder.rglob(".lock"))
