"""Reproduces the study: trains all its runs and compares them with the paper.

python -m fmnist_lightning.reproduce [KEY=VALUE] [OVERRIDES]

reproduce.size=full    full, or quick: fewer epochs and images, two seeds, in 4
                       minutes; it does not reproduce the study
reproduce.seeds=10     how many seeds (10 to 19), or which ones, as in [0,3,7];
                       docs/analysis-plan.md says how many each variant takes
reproduce.jobs=N       runs at a time: the number of cores unless given, 1 on a
                       GPU. Each uses one thread, so that the results do not
                       depend on N
reproduce.folder=DIR   outputs/reproduce/SIZE unless given
reproduce.photos=DIR   a directory of photos with labels.csv: scores of both
                       models on them (docs/predict.md describes the file)
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
from fmnist_lightning.runs.provenance import git_state
from fmnist_lightning.study.plan import DEFAULT_SEEDS, FIRST_SEED, MAX_SEEDS, plan
from fmnist_lightning.training.stages import clear_stage, draws_on_terminal, show_stage

UNCOMMITTED = (
    "uncommitted changes: the results will be marked as such; to publish them, commit first, and train in a checkout "
    "that does not change"
)


@dataclass
class Arguments:
    """What may be typed."""

    size: str = argument("reproduce.size=SIZE", "full", one_of(*SIZES))
    seeds: str | None = argument("reproduce.seeds=N", None)
    jobs: int | None = argument("reproduce.jobs=N", None, integer(1, num_cores()))
    folder: str | None = argument("reproduce.folder=DIR", None)
    photos: str | None = argument("reproduce.photos=DIR", None)
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
    given, execution, seeds = read_arguments(argv)
    console = Console(highlight=False, soft_wrap=True)
    photos = Path(given.photos).expanduser() if given.photos else None
    if photos:
        from fmnist_lightning.study.photos import check_photos

        check_photos(photos)
    if given.train:
        with execution.locked():
            if draws_on_terminal():
                show_stage("composing the configurations")  # 10 seconds
            runs = {planned: execution.run_of(planned) for planned in plan(seeds)}
            clear_stage()
            bases = {planned: planned.base for planned in runs if planned.base}
            if execution.size == "full" and git_state()[1]:
                console.print(UNCOMMITTED)

            from fmnist_lightning.study.checkpoints import score_checkpoints
            from fmnist_lightning.study.page import write

            execution.train_missing(runs, score_checkpoints, console, bases)
            results = write(execution.folder, execution.size, execution.jobs, runs, photos)
    else:
        from fmnist_lightning.study.page import rewrite

        results = rewrite(execution.folder, execution.overrides)
    console.print(f"results: {execution.folder / 'results.json'}\nreport: {execution.folder / 'report.html'}")
    return results


def read_arguments(argv: Sequence[str]) -> tuple[Arguments, Execution, list[int]]:
    """What was typed, how to train, and the seeds.

    Raises:
        ValueError: an argument that is not allowed.
    """
    given = parse_arguments(Arguments, argv)
    check_overrides("reproduce", given.overrides)
    validate_command_line([*given.overrides, *NO_PROGRESS_BAR])
    jobs = given.jobs or (1 if num_gpus() else num_cores())
    folder = given.folder or f"outputs/reproduce/{given.size}"
    seeds = parse_seeds("reproduce", given.seeds or str(DEFAULT_SEEDS[given.size]), FIRST_SEED)
    if len(seeds) > MAX_SEEDS:
        raise ValueError(
            f"reproduce.seeds={given.seeds}: {len(seeds)} seeds; the plan has at most {MAX_SEEDS} of a variant"
        )
    if given.photos and not given.train:
        raise ValueError("reproduce.photos: has no effect with reproduce.train=false, which reads results.json")
    return given, Execution("reproduce", given.size, given.overrides, jobs, Path(folder)), seeds


if __name__ == "__main__":
    main()
