"""The command line: compose, check, hand over. Imports no torch before the configuration is known to be good."""

import gc
import logging
import sys
from pathlib import Path

import hydra
from filelock import FileLock, Timeout
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fmnist_lightning.config import CONF, CONFIG_NAME, check
from fmnist_lightning.devices import give_back_freed_memory
from fmnist_lightning.errors import INTERRUPTED, one_line, wants_trace
from fmnist_lightning.processes import is_later, quiet_overrides
from fmnist_lightning.sweep import Sweep, WatchSweep, take_up

log = logging.getLogger(__name__)
_failed: list[Path] = []  # folders of the runs that failed: one does not stop a sweep


def main() -> None:
    """Runs what the command line asks for; exits with 0 only where every run was completed."""
    arguments = get_args_parser().parse_intermixed_args()
    only_asks = arguments.help or arguments.hydra_help or arguments.info or arguments.shell_completion
    if not only_asks:
        flags = [argument for argument in sys.argv[1:] if argument not in arguments.overrides]
        # Hydra reads overrides from one place only; at the end Lightning adds those of the processes that it starts
        sys.argv[1:] = [*flags, *arguments.overrides, *quiet_overrides()]
        try:
            check(arguments.overrides, arguments.multirun, arguments.config_dir, runs_here=not arguments.cfg)
        except (ValueError, HydraException, OmegaConfBaseException) as error:
            if wants_trace():
                raise
            sys.exit(f"error: {one_line(error)}")
    try:
        _run()
    finally:
        unfinished = 0
        if WatchSweep.folder:
            Sweep(WatchSweep.folder).update()
            unfinished = Sweep(WatchSweep.folder).show()
    if _failed or unfinished:
        sys.exit(1)


@hydra.main(config_path=str(CONF), config_name=CONFIG_NAME, version_base="1.3")
def _run(cfg: DictConfig) -> None:
    """One run. What goes wrong is told in one line, and its trace kept in the run's log."""
    settings = HydraConfig.get()
    folder, overrides = Path(settings.runtime.output_dir), list(settings.overrides.task)
    sweep = Sweep(settings.sweep.dir) if settings.mode == RunMode.MULTIRUN else None
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        if sweep:
            lock.acquire(timeout=0)
            if take_up(folder, overrides):
                print(f"job {settings.job.num} was completed before and is kept")
                return
        from fmnist_lightning.training import show, train

        summary = train(cfg, folder, overrides)
    except Timeout:
        _failed.append(folder)
        print(f"error: {folder}: another process works on this job", file=sys.stderr)
        return
    except KeyboardInterrupt:
        if not is_later():
            print(f"interrupted\nrun: {folder}", flush=True)
        sys.exit(INTERRUPTED)
    except Exception as error:
        log.info("the run failed", exc_info=error)  # the console shows warnings and above, the file all
        if wants_trace():
            raise
        _failed.append(folder)
        print(f"error: {one_line(error)}", file=sys.stderr)
        if not is_later():
            print(f"run: {folder}", flush=True)
        return
    finally:
        lock.release()
        if sweep:
            sweep.update()
            gc.collect()  # a run's objects know each other; by itself Python looks for such too rarely
            give_back_freed_memory()
    if summary:
        show(summary, folder)
        if summary["status"] == "interrupted":
            sys.exit(INTERRUPTED)  # a sweep ends here too


if __name__ == "__main__":
    main()
