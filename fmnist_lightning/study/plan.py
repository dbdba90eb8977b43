"""The runs of the reproduction. Two runs differ in their variant and their seed only."""

from collections.abc import Sequence
from typing import NamedTuple

from fmnist_lightning.study.reported import MODELS

FRACTIONS = (0.05, 0.10, 0.25, 0.50)  # of the training split; the whole of it is the recipe itself
NUM_ABLATION_SEEDS = 3
BATCH_SIZE = 512
EPOCHS = {"full": 25, "quick": 3}
QUICK_FRACTION = 0.1  # of the images that the full size trains on
# hyperparameters that the study does not specify: one run for each alternative
CHOICES = {
    "ann": ("data.batch_size=128", "data.batch_size=256", "callbacks.early_stopping.patience=25"),
    "cnn": (
        "model.padding=valid",
        "model.head=[]",
        "model.head=[256]",
        "data.batch_size=256",
        "callbacks.early_stopping.patience=25",
    ),
}
# seconds on one core of an AMD EPYC, roughly: what the time left is estimated by
EPOCH_SECONDS = {"ann": 0.8, "cnn": 15.0}
REPORT_SECONDS = 8.0


class Variant(NamedTuple):
    """How a run differs from the recipe; its repetitions differ in the seed."""

    model: str
    dropout: bool = True
    batch_norm: bool = True
    train_fraction: float = 1.0
    choice: str = ""  # an override

    @property
    def name(self) -> str:
        """Short, and valid as part of a directory name."""
        parts = [self.model]
        if not self.dropout:
            parts.append("no-dropout")
        if not self.batch_norm:
            parts.append("no-batch-norm")
        if self.train_fraction < 1:
            parts.append(f"{self.train_fraction:.0%}".replace("%", "-percent"))
        if self.choice:
            key, _, value = self.choice.partition("=")
            parts.append(f"{key.rpartition('.')[2]}-{value.strip('[]') or 'none'}")
        return "_".join(parts)

    def overrides(self, seed: int, size: str) -> list[str]:
        """The overrides of this run.

        A fraction of the training images comes with the same fraction of the batch size: every training-set size takes
        the same number of steps.
        """
        fraction = self.train_fraction * (QUICK_FRACTION if size == "quick" else 1.0)
        overrides = [f"model={self.model}", f"seed={seed}", f"trainer.max_epochs={EPOCHS[size]}"]
        overrides += [] if self.dropout else ["model.dropout=0.0"]
        overrides += [] if self.batch_norm else ["model.batch_norm=false"]
        overrides += [] if fraction == 1 else [f"data.train_fraction={fraction:g}"]
        overrides += [] if self.train_fraction == 1 else [f"data.batch_size={round(BATCH_SIZE * self.train_fraction)}"]
        return [*overrides, *([self.choice] if self.choice else [])]

    def seconds(self, size: str) -> float:
        """Of a run, roughly; a tenth of an epoch is validation."""
        fraction = self.train_fraction * (QUICK_FRACTION if size == "quick" else 1.0)
        return EPOCHS[size] * EPOCH_SECONDS[self.model] * (0.9 * fraction + 0.1) + REPORT_SECONDS


class PlannedRun(NamedTuple):
    """One run: a variant and a seed."""

    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """As printed, and the beginning of its directory name."""
        return f"{self.variant.name}_seed-{self.seed}"

    def overrides(self, size: str) -> list[str]:
        """Those of the variant, and the seed."""
        return self.variant.overrides(self.seed, size)

    def seconds(self, size: str) -> float:
        """Those of the variant."""
        return self.variant.seconds(size)


def plan(seeds: Sequence[int]) -> list[PlannedRun]:
    """All runs, the recipe's first; a variant that several tables need is trained once.

    Args:
        seeds: of the recipe; the ablation and the training-set sizes take the first three, the alternatives the first.
    """
    few = seeds[:NUM_ABLATION_SEEDS]
    runs = [PlannedRun(Variant(model), seed) for model in reversed(MODELS) for seed in seeds]
    for model in reversed(MODELS):
        variants = [Variant(model, dropout, batch_norm) for dropout in (True, False) for batch_norm in (True, False)]
        variants += [Variant(model, train_fraction=fraction) for fraction in FRACTIONS]
        runs += [PlannedRun(variant, seed) for variant in variants for seed in few]
        runs += [PlannedRun(Variant(model, choice=choice), seeds[0]) for choice in CHOICES[model]]
    return list(dict.fromkeys(runs))
