"""The runs of the leaderboard: each recipe is a file in conf/experiment/, trained with several seeds."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fmnist_lightning.config.compose import compose_config
from fmnist_lightning.config.overrides import quote

PAPER = ("paper_ann", "paper_cnn")
RECIPES = (*PAPER, "fast_cnn", "cnn_5_epochs", "cnn_20_epochs", "best_cnn", "best_ann", "distilled_ann")
TEACHERS = {"distilled_ann": "cnn_20_epochs"}  # whose first runs the recipe is distilled from
NUM_TEACHERS = 2
FIRST_SEED = 100  # the recipes were chosen with seeds below
NUM_SEEDS = {"full": 5, "quick": 2}
QUICK = ("trainer.max_epochs=2", "data.train_fraction=0.1")
# seconds on one core of an AMD EPYC, roughly: what the time left and the order of the runs are estimated by
EPOCH_SECONDS = {"ann": 0.8, "cnn": 11.0}
REPORT_SECONDS = 8.0
TEACHER_SECONDS = 3.0  # for an epoch of its student
LONG = 200.0


class PlannedRun(NamedTuple):
    """One run: a recipe, a seed, and the directories of the runs that it is distilled from."""

    recipe: str
    seed: int
    teachers: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """As printed, and the beginning of its directory name."""
        return f"{self.recipe}_seed-{self.seed}"

    def overrides(self, size: str) -> list[str]:
        """The recipe as it is, with a seed; of quick size, fewer epochs and images."""
        teachers = ",".join(map(quote, self.teachers))
        return [
            *(f"experiment={self.recipe}", f"seed={self.seed}"),
            *(QUICK if size == "quick" else ()),
            *([f"callbacks.distillation.teachers=[{teachers}]"] if teachers else []),
        ]

    def seconds(self, size: str) -> float:
        """Of the whole run, roughly."""
        return estimate_seconds(self.recipe, size)


@functools.cache
def estimate_seconds(recipe: str, size: str) -> float:
    """Of a run, roughly; a tenth of an epoch is validation."""
    cfg = compose_config([f"experiment={recipe}", *(QUICK if size == "quick" else ())])
    epoch = EPOCH_SECONDS.get(cfg.hydra.runtime.choices.model, EPOCH_SECONDS["cnn"])
    epoch += TEACHER_SECONDS * len(plan_teachers(recipe, size))
    return float(cfg.trainer.max_epochs * epoch * (0.9 * cfg.data.train_fraction + 0.1) + REPORT_SECONDS)


def plan(
    names: Iterable[str], seeds: Sequence[int], size: str, folder_of: Callable[[PlannedRun], Path]
) -> list[PlannedRun]:
    """The runs in their order: quick recipes first, then the long ones seed by seed, then those that have teachers.

    Args:
        names: of the recipes.
        seeds: of each recipe.
        size: full or quick.
        folder_of: the directory of a run.
    """

    def order(run: PlannedRun) -> tuple[bool, int, float, int]:
        is_long = run.seconds(size) > LONG
        return is_long, run.seed if is_long else 0, run.seconds(size), run.seed

    untaught, taught = set(), []
    for run in (PlannedRun(name, seed) for name in names for seed in seeds):
        if teachers := plan_teachers(run.recipe, size):
            untaught.update(teachers)
            taught.append(run._replace(teachers=tuple(map(folder_of, teachers))))
        else:
            untaught.add(run)
    return sorted(untaught, key=order) + taught


def plan_teachers(recipe: str, size: str) -> list[PlannedRun]:
    """The runs that a recipe is distilled from: the same ones for each of its seeds."""
    seeds = range(FIRST_SEED, FIRST_SEED + min(NUM_TEACHERS, NUM_SEEDS[size]))
    return [PlannedRun(TEACHERS[recipe], seed) for seed in seeds] if recipe in TEACHERS else []
