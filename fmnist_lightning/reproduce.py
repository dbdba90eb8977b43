"""Reproduces the study: trains all its runs and compares them with the paper.

python -m fmnist_lightning.reproduce [KEY=VALUE] [OVERRIDES]

reproduce.size=full    full, or quick: fewer epochs and images, in 3 minutes; it
                       does not reproduce the study
reproduce.seeds=5      how many seeds (0 to 4), or which ones, as in [0,3,7]
reproduce.jobs=N       runs at a time: the number of cores unless given, 1 on a
                       GPU. Each uses one thread, so that the results do not
                       depend on N
reproduce.folder=DIR   outputs/reproduce/SIZE unless given
reproduce.train=false  only writes report.html and overview.png again, from
                       results.json in reproduce.folder and the dataset
OVERRIDES              data=synthetic, data.root=DIR, data.mirrors=[...],
                       trainer.accelerator=cpu, trainer.precision=32-true

Each run of fmnist_lightning/study/plan.py has an ordinary run directory. Writes
report.html and results.json. If it is interrupted, the same command resumes:
completed runs are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.constraints import integer, one_of
from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.config.devices import num_gpus
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.execution.arguments import SIZES, check_overrides, parse_seeds
from fmnist_lightning.execution.execute import NO_PROGRESS_BAR, Execution
from fmnist_lightning.study.plan import plan


@dataclass
class Arguments:
    """What may be typed."""

    size: str = argument("reproduce.size=SIZE", "full", one_of(*SIZES))
    seeds: str = argument("reproduce.seeds=N", "5")
    jobs: int | None = argument("reproduce.jobs=N", None, integer(1, num_cores()))
    folder: str | None = argument("reproduce.folder=DIR", None)
    train: bool = argument("reproduce.train=false", True, one_of(True, False))
    overrides: list[str] = field(default_factory=list)


def main() -> None:
    """Runs the command."""
    run_command(reproduce, __doc__, "interrupted: completed runs are kept, the same command resumes")


def reproduce(argv: Sequence[str]) -> dict[str, Any]:
    """Trains the runs that are not completed yet, and compares them with the study; returns results.json.

    Raises:
        ValueError: an argument that is not allowed, a run that failed, or a completed one that was changed.
    """
    execution, seeds, train = read_arguments(argv)
    console = Console(highlight=False, soft_wrap=True)
    if train:
        with execution.locked():
            runs = {planned: execution.run_of(planned) for planned in plan(seeds)}

            from fmnist_lightning.study.losses import measure_losses
            from fmnist_lightning.study.page import write

            execution.train_missing(runs, measure_losses, console)
            results = write(execution.folder, execution.size, execution.jobs, runs)
    else:
        from fmnist_lightning.study.page import rewrite

        results = rewrite(execution.folder, execution.overrides)
    console.print(f"results: {execution.folder / 'results.json'}\nreport: {execution.folder / 'report.html'}")
    return results


def read_arguments(argv: Sequence[str]) -> tuple[Execution, list[int], bool]:
    """How to train, the seeds, and whether to train at all.

    Raises:
        ValueError: an argument that is not allowed.
    """
    given = parse_arguments(Arguments, argv)
    check_overrides("reproduce", given.overrides)
    validate_command_line([*given.overrides, *NO_PROGRESS_BAR])
    jobs = given.jobs or (1 if num_gpus() else num_cores())
    folder = given.folder or f"outputs/reproduce/{given.size}"
    seeds = parse_seeds("reproduce", given.seeds)
    return Execution("reproduce", given.size, given.overrides, jobs, Path(folder)), seeds, given.train


if __name__ == "__main__":
    main()
