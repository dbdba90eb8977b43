"""Shows what a run is doing while nothing else is printed: a line that disappears on a terminal, a plain one elsewhere.

Imports no torch: loading it is the first stage. The cursor stays at the start of the line, so that whatever is printed
next replaces it, also a warning of a library.
"""

import sys
from collections.abc import Callable

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from fmnist_lightning.config.processes import is_rank_zero

WIDTH = 60  # no stage has a longer name
ShowStage = Callable[[str], None]


def stage_display(cfg: DictConfig) -> ShowStage:
    """`show_stage`, or a function that shows nothing: in workers, without callbacks.progress, in a sweep's log file."""
    is_shown = is_rank_zero() and "progress" in cfg.callbacks and (draws_on_terminal() or not in_sweep())
    return show_stage if is_shown else lambda stage: None


def show_stage(stage: str) -> None:
    """Shows what is being done, until the next stage or `clear_stage`."""
    if sys.stdout.isatty():
        print(f"{stage + ' ...':<{WIDTH}}", end="\r", flush=True)
    else:
        print(stage, flush=True)


def clear_stage() -> None:
    """Removes the last stage from the terminal."""
    if draws_on_terminal() and is_rank_zero():
        print(" " * WIDTH, end="\r", flush=True)


def draws_on_terminal() -> bool:
    """Whether standard output is a terminal on which no other job of a sweep draws at the same time."""
    is_alone = not in_sweep() or HydraConfig.get().launcher._target_.endswith(".BasicLauncher")
    return sys.stdout.isatty() and is_alone


def in_sweep() -> bool:
    """Whether this process works on a job of a Hydra multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
