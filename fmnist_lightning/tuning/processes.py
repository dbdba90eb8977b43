"""Several workers on one machine: a process each, which share the cores."""

import multiprocessing
import signal
import sys
import time
from types import FrameType

from fmnist_lightning.config.errors import EXIT_SIGINT, Interrupted, format_error, full_traceback
from fmnist_lightning.config.openmp import set_openmp_variables
from fmnist_lightning.execution.worker import exit_with_parent
from fmnist_lightning.tuning.search import Search

GRACE_SECONDS = 10.0


def work_in_processes(search: Search) -> None:
    """Trains trials in `search.jobs` processes, in this one if it is one, until the study has all of them.

    Raises:
        ValueError: a process ended, killed or with an error that it printed.
    """
    if search.jobs == 1:
        from fmnist_lightning.tuning.worker import work

        work(search)
        return
    set_openmp_variables(search.jobs)  # which the processes inherit; torch is not imported yet
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(search,)) for _ in range(search.jobs)]
    for process in processes:
        process.start()
    try:
        # a terminal's Ctrl-C reaches the processes, too; this does not
        signal.signal(signal.SIGTERM, _raise_interrupted)
        for process in processes:
            process.join()
    except KeyboardInterrupt:  # processes that a terminal's Ctrl-C has reached end by themselves
        deadline = time.monotonic() + GRACE_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        raise
    finally:
        for process in processes:
            process.terminate()  # those that are left
        for process in processes:
            process.join()
    set_openmp_variables()  # the winner is trained alone
    codes = [process.exitcode or 0 for process in processes]
    if EXIT_SIGINT in codes:
        raise KeyboardInterrupt
    if any(codes) and all(codes):
        killed = " (killed, or out of memory)" * any(code < 0 for code in codes)
        raise ValueError(f"the processes of search.jobs={search.jobs} ended{killed}")


def _raise_interrupted(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _work(search: Search) -> None:
    from fmnist_lightning.tuning.worker import work

    exit_with_parent()
    try:
        work(search)
    except KeyboardInterrupt:
        sys.exit(EXIT_SIGINT)
    except Interrupted as interruption:
        sys.exit(interruption.status)
    except Exception as error:
        if full_traceback():
            raise
        sys.exit(f"error: {format_error(error)}")
