"""What OpenMP reads when torch is loaded, in processes of their own."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.config.openmp import SET_BY_PACKAGE, SPIN
from fmnist_lightning.training.job import num_concurrent
from fmnist_lightning.training.run import train

SPIN_VARIABLE, SPIN_VALUE = SPIN
# writes the variables where torch would be loaded, and ends there
HOOK = """
import json, os, sys
class Torch:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            names = ("OMP_", "GOMP_", "KMP_", "MKL_NUM")
            with open(os.environ["HOOK"], "w") as file:
                json.dump({key: value for key, value in os.environ.items() if key.startswith(names)}, file)
            os._exit(0)
sys.meta_path.insert(0, Torch)
"""
LOAD = """
import sys
from pathlib import Path
from fmnist_lightning.config.openmp import openmp_variables, set_openmp_variables
set_openmp_variables(int(sys.argv[1]), Path(sys.argv[2]))
import torch
print(torch.get_num_threads(), openmp_variables())
"""


def environment(**variables):
    ignored = (SET_BY_PACKAGE, "LOKY_MAX_CPU_COUNT", "OMP_", "GOMP_", "KMP_", "MKL_")  # libraries set some, too
    return {name: value for name, value in os.environ.items() if not name.startswith(ignored)} | variables


def loads_torch_with(tmp_path, *arguments, **variables):
    """The variables with which `python -m ARGUMENTS` loads torch."""
    (tmp_path / "hook").mkdir(exist_ok=True)
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(tmp_path / "hook"), *sys.path])
    command = [sys.executable, "-m", *arguments]
    env = environment(PYTHONPATH=path, HOOK=str(tmp_path / "variables.json"), **variables)
    answer = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, timeout=100)
    assert (tmp_path / "variables.json").exists(), answer.stderr
    return json.loads((tmp_path / "variables.json").read_text())


def load_torch(num_processes, root="/", **variables):
    """The number of torch's threads, and what OpenMP displays of its environment."""
    env = environment(OMP_DISPLAY_ENV="VERBOSE", **variables)
    answer = subprocess.run(
        [sys.executable, "-c", LOAD, str(num_processes), str(root)], capture_output=True, text=True, env=env, check=True
    )
    return answer.stdout, answer.stderr


def test_training_loads_torch_with_the_spin_count(tmp_path, tiny_overrides):
    assert loads_torch_with(tmp_path, "fmnist_lightning", *tiny_overrides) == {SPIN_VARIABLE: SPIN_VALUE}


def test_values_of_the_user_take_precedence(tmp_path, tiny_overrides):
    for variables in ({SPIN_VARIABLE: "7"}, {"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "5"}):
        assert loads_torch_with(tmp_path, "fmnist_lightning", *tiny_overrides, **variables) == variables


def test_processes_share_the_cores(tmp_path, tiny_overrides):
    variables = loads_torch_with(tmp_path, "fmnist_lightning", *tiny_overrides, "trainer=ddp", "trainer.devices=2")
    assert variables.get("OMP_NUM_THREADS", "1") == str(max(1, num_cores() // 2))


@pytest.mark.parametrize(
    ("launcher", "n_jobs", "expected"),
    [("basic", None, 1), ("submitit_local", None, 8), ("joblib", 2, 2), ("joblib", -1, num_cores())],
)
def test_jobs_at_the_same_time_share_the_cores(launcher, n_jobs, expected):
    settings = {"runtime": {"choices": {"hydra/launcher": launcher}}, "launcher": {"n_jobs": n_jobs}}
    assert num_concurrent(OmegaConf.create(settings), num_jobs=8) == expected


@pytest.fixture(scope="module")
def run_dir(composed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openmp") / "run"
    train(composed("model=ann"), folder, [])
    shutil.copytree(folder, folder.with_name("run2"))
    return folder


def test_summary_records_threads_and_variables(run_dir):
    openmp = json.loads((run_dir / "summary.json").read_text())["openmp"]
    assert openmp["threads"] == 1
    assert openmp["variables"]["OMP_NUM_THREADS"] == "1"  # tests/conftest.py
    assert openmp["set_by_package"] == []  # the tests had loaded torch before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("", ["-m", "model=ann", "seed=0,1"]),
        ("", ["-m", "model=ann", "seed=0,1", "hydra/launcher=joblib"]),
        (".evaluate", ["run=RUN"]),
        (".predict", ["run=RUN", "images=image.png", "output=p.csv"]),
        (".export", ["run=RUN", "format=torch"]),
        (".demo", ["run=RUN"]),
        (".compare", ["runs=[RUN,RUN2]"]),
        (".reproduce", ["reproduce.size=quick", "data=synthetic"]),
        (".recipes", ["recipes.size=quick", "data=synthetic"]),
        (".benchmark", ["data=synthetic", "variants=project"]),
    ],
)
def test_command_loads_torch_with_the_spin_count(module, arguments, run_dir, tmp_path, tiny_overrides):
    (tmp_path / "image.png").touch()
    arguments = [argument.replace("RUN", str(run_dir)) for argument in arguments]
    arguments += tiny_overrides if not module else []
    assert loads_torch_with(tmp_path, f"fmnist_lightning{module}", *arguments)[SPIN_VARIABLE] == SPIN_VALUE


@pytest.mark.skipif(SPIN_VARIABLE != "GOMP_SPINCOUNT", reason="libgomp is Linux's")
def test_openmp_reads_the_spin_count_and_the_quota_of_the_container(tmp_path):
    for path, text in {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "100000 100000"}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    printed, displayed = load_torch(1, tmp_path)
    assert printed.startswith("1 ")
    assert f"GOMP_SPINCOUNT = '{SPIN_VALUE}'" in displayed


@pytest.mark.slow
def test_number_of_threads():
    assert load_torch(10**6)[0].startswith("1 ")  # processes that share the cores
    printed, _ = load_torch(10**6, OMP_NUM_THREADS="2", MKL_NUM_THREADS="2", MKL_DYNAMIC="false")
    assert printed.startswith("2 ")


@pytest.mark.parametrize(("loaded", "expected"), [("torch", "None"), ("other", SPIN_VALUE)])
def test_python_api_sets_nothing_once_torch_is_loaded(loaded, expected):
    program = f"import os, sys; sys.modules[{loaded!r}] = sys; import fmnist_lightning; fmnist_lightning.compose; "
    program += f"print(os.environ.get({SPIN_VARIABLE!r}))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert answer.stdout == f"{expected}\n"
