"""Busy processes exist while the benchmark measures, and end with it, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the processes from /proc")

PROGRAM = """
import time
from fmnist_lightning.benchmarking.load import busy_processes
try:
    with busy_processes(2):
        print("started", flush=True)
        time.sleep({seconds})
except KeyboardInterrupt:
    pass
"""


def children(pid):
    """The busy processes of a process, with the CPU ticks that each has used."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[1]) == pid:
            found[int(path.parent.name)] = int(fields[11])
    return found


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", [None, signal.SIGINT, signal.SIGKILL])
def test_busy_processes_compute_until_the_benchmark_ends(how):
    command = [sys.executable, "-c", PROGRAM.format(seconds=1 if how is None else 60)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        pids = list(children(process.pid))
        assert len(pids) == 2
        wait_until(lambda: all(children(process.pid).values()) or process.poll() is not None)
        if how:
            os.killpg(process.pid, how) if how is signal.SIGINT else process.kill()  # a terminal's Ctrl-C reaches all
        process.wait(20)
        assert process.returncode == (-how if how is signal.SIGKILL else 0)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
