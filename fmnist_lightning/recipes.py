"""Trains the recipes of the leaderboard: accuracy and seconds, with fresh seeds.

python -m fmnist_lightning.recipes [KEY=VALUE] [OVERRIDES]

recipes.size=full      full, or quick: two epochs on a tenth of the images, two
                       seeds, in minutes; it is not the leaderboard
recipes.names=A,B      of these recipes only; each is a file in conf/experiment
recipes.seeds=5        how many seeds from 100 on, or which ones, as in [100,101]
recipes.jobs=N         runs at a time: the number of cores unless given, 1 on a
                       GPU. Each uses one thread
recipes.folder=DIR     outputs/recipes/SIZE unless given
recipes.train=false    trains nothing: results of the runs completed so far
OVERRIDES              data=synthetic, data.root=DIR, data.mirrors=[...],
                       trainer.accelerator=cpu, trainer.precision=32-true

Each run has a process of its own and an ordinary run directory. Writes
recipes.json and recipes.png. If it is interrupted, the same command resumes:
completed runs are kept, interrupted ones are trained again. The rules:
docs/leaderboard.md
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command, split_list
from fmnist_lightning.config.constraints import integer, one_of
from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.config.devices import num_gpus
from fmnist_lightning.config.validate import validate_command_line
from fmnist_lightning.execution.arguments import SIZES, check_overrides, parse_seeds
from fmnist_lightning.execution.execute import NO_PROGRESS_BAR, Execution
from fmnist_lightning.execution.worker import is_completed
from fmnist_lightning.leaderboard.plan import FIRST_SEED, NUM_SEEDS, RECIPES, plan
from fmnist_lightning.runs.files import atomic_write


@dataclass
class Arguments:
    """What may be typed."""

    size: str = argument("recipes.size=SIZE", "full", one_of(*SIZES))
    names: str | None = argument("recipes.names=NAME,NAME", None)
    seeds: str | None = argument("recipes.seeds=N", None)
    jobs: int | None = argument("recipes.jobs=N", None, integer(1, num_cores()))
    folder: str | None = argument("recipes.folder=DIR", None)
    train: bool = argument("recipes.train=false", True, one_of(True, False))
    overrides: list[str] = field(default_factory=list)


def main() -> None:
    """Runs the command."""
    run_command(recipes, __doc__, "interrupted: completed runs are kept, the same command resumes")


def recipes(argv: Sequence[str]) -> dict[str, Any]:
    """Trains the runs that are not completed yet, prints the table and writes the results; returns recipes.json.

    Raises:
        ValueError: an argument that is not allowed, a run that failed, or a completed one that was changed.
    """
    given = parse_arguments(Arguments, argv)
    check_overrides("recipes", given.overrides)
    names = choose_recipes(given.names)
    seeds = parse_seeds("recipes", given.seeds or str(NUM_SEEDS[given.size]), FIRST_SEED)
    validate_command_line([*given.overrides, *NO_PROGRESS_BAR])
    folder = Path(given.folder or f"outputs/recipes/{given.size}")
    jobs = given.jobs or (1 if num_gpus() else num_cores())
    execution = Execution("recipes", given.size, given.overrides, jobs, folder, process_per_run=True)
    console = Console(highlight=False, soft_wrap=True)
    planned = plan(names, seeds, given.size, lambda run: execution.run_of(run).folder)
    runs = {run: execution.run_of(run) for run in planned}

    from fmnist_lightning.leaderboard.figure import draw
    from fmnist_lightning.leaderboard.flips import measure_flips
    from fmnist_lightning.leaderboard.results import collect
    from fmnist_lightning.leaderboard.table import terminal_table

    if given.train:
        with execution.locked():
            for distilled in (False, True):  # teachers have to be completed before
                part = {planned: run for planned, run in runs.items() if bool(planned.teachers) == distilled}
                if part:
                    execution.train_missing(part, measure_flips, console)
    completed = {planned: run for planned, run in runs.items() if is_completed(run)}
    if not completed:
        raise ValueError(f"recipes.train=false: none of these runs is completed in {folder}; leave it out to train")
    results = collect(completed, names, given.size)
    for name, content in (("recipes.json", json.dumps(results, indent=1) + "\n"), ("recipes.png", draw(results))):
        atomic_write(folder / name, content)
    console.print(terminal_table(results))
    console.print(f"results: {folder / 'recipes.json'}\nfigure: {folder / 'recipes.png'}")
    return results


def choose_recipes(typed: str | None) -> list[str]:
    """The names in a list; all recipes if it is None.

    Raises:
        ValueError: an unknown or repeated name.
    """
    names = list(RECIPES) if typed is None else split_list(typed)
    for name in names:
        if name not in RECIPES or names.count(name) > 1:
            raise ValueError(f"recipes.names={typed}: must be a list of {', '.join(RECIPES)}, each once")
    return names


if __name__ == "__main__":
    main()
