"""Other work on the machine while the benchmark times: processes that compute all the time."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# ends when its standard input is closed, which the system does when this process ends, however it ends
_PROGRAM = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the benchmark, which ends this process
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


@contextmanager
def busy_processes(num: int) -> Iterator[None]:
    """Keeps `num` processes busy within a `with` statement."""
    processes = []
    try:
        for _ in range(num):
            processes.append(subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE))
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
