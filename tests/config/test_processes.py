"""Rank zero is defined by how a process was launched, not by variables that another program left in the environment."""

import os
import subprocess
import sys

import pytest

from fmnist_lightning.config import processes
from fmnist_lightning.runs.run import Run

FOREIGN = {
    "torch": {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1"},
    "lightning": {"LOCAL_RANK": "1", "NODE_RANK": "1"},
    "slurm": {"SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NODEID": "0", "SLURM_NTASKS": "4"},
    "malformed": {"RANK": "first", "LOCAL_RANK": ""},
}
LAUNCHED = {"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "4"}
LAUNCHED |= {"LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture
def launched_with(monkeypatch):
    """Sets the environment of this process, as it would be at its start."""

    def launch(env):
        processes.launched_by_lightning.cache_clear()
        for name in (*processes.RANK_VARIABLES, *LAUNCHED, processes.LAUNCHER_PID):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    yield launch
    processes.launched_by_lightning.cache_clear()


@pytest.mark.parametrize("source", FOREIGN)
def test_a_process_that_nobody_launched_as_a_worker_is_rank_zero(source, launched_with):
    launched_with(FOREIGN[source])
    assert processes.is_rank_zero()
    processes.ignore_foreign_ranks()
    assert not set(os.environ) & set(processes.RANK_VARIABLES)


@pytest.mark.parametrize(
    ("env", "rank_zero"),
    [
        (LAUNCHED, False),
        (LAUNCHED | {"RANK": "0"}, True),
        ({name: value for name, value in LAUNCHED.items() if name != "MASTER_PORT"}, True),  # not torchrun's
        ({"LOCAL_RANK": "1", processes.LAUNCHER_PID: str(os.getppid())}, False),
        ({"LOCAL_RANK": "1", processes.LAUNCHER_PID: "1"}, True),  # inherited from another run
    ],
)
def test_workers_of_torchrun_and_of_lightning_are_not_rank_zero(env, rank_zero, launched_with):
    launched_with(env)
    assert processes.is_rank_zero() is rank_zero
    processes.ignore_foreign_ranks()
    assert processes.is_rank_zero() is rank_zero


@pytest.mark.slow
def test_run_with_foreign_ranks_is_checked_locked_and_complete(command, tiny_overrides, tmp_path):
    overrides = ["model=ann", *tiny_overrides, "trainer.max_epochs=1"]
    env = FOREIGN["torch"] | FOREIGN["lightning"] | FOREIGN["slurm"]
    # a DDP run also launches its own second process
    first = command(*overrides, "trainer=ddp", "trainer.accelerator=cpu", "hydra.run.dir=a", **FOREIGN["lightning"])
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == f"run: {tmp_path / 'a'}"
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    rejected = command(*overrides, "seed=9", "hydra.run.dir=a", **env)
    assert rejected.returncode == 1
    assert "hydra.run.dir=a: already contains a run" in rejected.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before
    second = command(*overrides, "hydra.run.dir=b", **env)
    assert second.returncode == 0, second.stderr
    assert second.stderr == ""
    assert second.stdout.splitlines()[-1] == f"run: {tmp_path / 'b'}"
    assert Run(tmp_path / "b").read_summary()["status"] == "completed"
    assert Run(tmp_path / "b").report_html.exists()


def test_every_task_of_srun_would_train_the_whole_run(command):
    answer = command("trainer=ddp", "trainer.accelerator=cpu", "data=synthetic", **FOREIGN["slurm"])
    assert answer.returncode == 1
    assert "trainer.devices=2: srun started this command more than once" in answer.stderr


@pytest.mark.slow
def test_train_called_from_python_ignores_foreign_ranks(data_root, tmp_path):
    program = (
        "import sys\n"
        "from fmnist_lightning.config.compose import compose_config, without_hydra\n"
        "from fmnist_lightning.training.run import train\n"
        "summary = train(without_hydra(compose_config(sys.argv[2:])), sys.argv[1], [])\n"
        "print(summary['status'])\n"
    )
    overrides = ["model=ann", "data=synthetic", "data.num_train=400", "data.num_test=100", "trainer.max_epochs=1"]
    arguments = [sys.executable, "-c", program, str(tmp_path / "run"), *overrides, f"data.root={data_root}"]
    env = os.environ | FOREIGN["torch"] | FOREIGN["lightning"] | FOREIGN["slurm"]
    answer = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == "completed"
