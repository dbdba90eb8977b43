"""How many cores a process may use: written as the files of a container's cgroups, and as an affinity."""

import shutil
import subprocess
import sys

import pytest

from fmnist_lightning.config import cores
from fmnist_lightning.config.cores import num_cores

V1 = "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n0::/system.slice\n"


def cgroups(root, own, **files):
    """Writes proc/self/cgroup, and files of sys/fs/cgroup: folder__name with __ for /."""
    for path, text in {
        "proc/self/cgroup": own,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # rounded up
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),  # a parent's quota
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/host/path\n", {"cpu.max": "200000 100000\n"}, 2),  # a container that sees the host's path
        ("0::/../other\n", {"cpu.max": "max\n"}, 64),
        (V1, {"cpu/docker/abc/cpu.cfs_quota_us": "200000\n", "cpu/docker/abc/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        (V1, {"memory/cpu.max": "100000 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "damaged\n"}, 64),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 64),
        ("", {}, 64),
    ],
)
def test_quota_of_a_container_limits_the_cores(own, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "num_affinity_cores", lambda: 64)
    assert num_cores(cgroups(tmp_path, own, **files)) == expected


def test_system_without_cgroups_has_its_cores(tmp_path):
    assert num_cores(tmp_path) == cores.num_affinity_cores()


@pytest.mark.skipif(not shutil.which("taskset"), reason="no taskset")
def test_affinity_limits_the_cores():
    program = "from fmnist_lightning.config.cores import num_cores; print(num_cores())"
    answer = subprocess.run(["taskset", "-c", "0", sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout == "1\n"
