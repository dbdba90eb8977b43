"""The runs of the reproduction. Two runs differ in their variant and their seed only.

docs/analysis-plan.md says what each variant decides, and why it has this number of seeds.
"""

from collections.abc import Sequence
from typing import NamedTuple

from fmnist_lightning.study.reported import MODELS

FIRST_SEED = 10  # the results of seeds 0 to 4 were known when the analysis was planned
DEFAULT_SEEDS = {"full": 10, "quick": 2}
FRACTIONS = (0.05, 0.10, 0.25, 0.50)  # of the training split; the whole of it is the recipe itself
BATCH_SIZE = 512
EPOCHS, LONG_EPOCHS = 25, 60  # at most, of the paper; to see what happens without early stopping
QUICK_EPOCHS = {EPOCHS: 3, LONG_EPOCHS: 5}
QUICK_FRACTION = 0.1  # of the images that the full size trains on
# alternatives to hyperparameters that the paper does not specify; a patience of 25 epochs is `ablation_variants()[0]`
CHOICES = {
    "ann": ("data.batch_size=128", "data.batch_size=256"),
    "cnn": ("model.padding=valid", "model.head=[]", "model.head=[256]", "data.batch_size=256"),
}
# on one core of an AMD EPYC, roughly: what the time left is estimated by
EPOCH_SECONDS = {"ann": 0.5, "cnn": 10.6}
WITHOUT_DROPOUT, WITHOUT_BATCH_NORM = 0.87, 0.75  # of these seconds
REPORT_SECONDS = {"ann": 3.0, "cnn": 8.0}  # testing, report
SCORE_SECONDS = {"ann": 1.0, "cnn": 8.0}  # of both checkpoints on all training images
STOPPED_EPOCHS = 5  # that early stopping saves of EPOCHS, roughly


class NumSeeds(NamedTuple):
    """How many seeds the variants of a model have."""

    recipe: int
    half: int  # of the training images
    fractions: int  # the smaller ones
    ablation: int
    long: int
    choices: int


NUM_SEEDS = {
    "ann": NumSeeds(recipe=10, half=10, fractions=10, ablation=10, long=10, choices=3),
    "cnn": NumSeeds(recipe=8, half=8, fractions=5, ablation=5, long=5, choices=3),
}
MAX_SEEDS = max(map(max, NUM_SEEDS.values()))


class Variant(NamedTuple):
    """How a run differs from the recipe; its repetitions differ in the seed."""

    model: str
    dropout: bool = True
    batch_norm: bool = True
    train_fraction: float = 1.0
    choice: str = ""  # an override
    epochs: int = EPOCHS  # at most
    early_stopping: bool = True

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
        if self.epochs != EPOCHS:
            parts.append(f"{'at-most-' * self.early_stopping}{self.epochs}-epochs")
        elif not self.early_stopping:
            parts.append("no-early-stopping")
        return "_".join(parts)

    @property
    def purpose(self) -> str:
        """What it is trained for, as the table of costs names it."""
        if self.epochs == LONG_EPOCHS:
            return "early stopping"
        if not self.early_stopping:
            return "dropout and batch normalization"
        if self.train_fraction < 1:
            return "training-set size"
        return "unspecified hyperparameters" if self.choice else "recipe"

    @property
    def base(self) -> "Variant | None":
        """The variant whose runs are trained further to get this one; None if it is trained from scratch."""
        if not self.early_stopping and (self.epochs > EPOCHS or (self.dropout and self.batch_norm)):
            return self._replace(early_stopping=True)
        return self._replace(epochs=EPOCHS) if self.epochs > EPOCHS else None

    def overrides(self, seed: int, size: str) -> list[str]:
        """The overrides of this run.

        A fraction of the training images comes with the same fraction of the batch size: every training-set size takes
        the same number of steps.
        """
        fraction = self.train_fraction * (QUICK_FRACTION if size == "quick" else 1.0)
        epochs = self._epochs(size)
        overrides = [f"model={self.model}", f"seed={seed}", f"trainer.max_epochs={epochs}"]
        # early stopping waits longer than the run is
        overrides += [] if self.early_stopping else [f"callbacks.early_stopping.patience={epochs}"]
        overrides += [] if self.dropout else ["model.dropout=0.0"]
        overrides += [] if self.batch_norm else ["model.batch_norm=false"]
        overrides += [] if fraction == 1 else [f"data.train_fraction={fraction:g}"]
        overrides += [] if self.train_fraction == 1 else [f"data.batch_size={round(BATCH_SIZE * self.train_fraction)}"]
        return [*overrides, *([self.choice] if self.choice else [])]

    def seconds(self, size: str) -> float:
        """Of a run, roughly, without those of the run that it continues; a tenth of an epoch is validation."""
        fraction = self.train_fraction * (QUICK_FRACTION if size == "quick" else 1.0)
        epochs = self._epochs(size)
        if self.base:
            stopped = 0 if self.early_stopping else STOPPED_EPOCHS
            epochs = min(epochs, self._epochs(size) - self.base._epochs(size) + stopped)
        layers = (1.0 if self.dropout else WITHOUT_DROPOUT) * (1.0 if self.batch_norm else WITHOUT_BATCH_NORM)
        training = epochs * EPOCH_SECONDS[self.model] * layers * (0.9 * fraction + 0.1)
        return training + REPORT_SECONDS[self.model] + SCORE_SECONDS[self.model] * fraction

    def _epochs(self, size: str) -> int:
        return QUICK_EPOCHS[self.epochs] if size == "quick" else self.epochs


class PlannedRun(NamedTuple):
    """One run: a variant and a seed."""

    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """As printed, and the beginning of its directory name."""
        return f"{self.variant.name}_seed-{self.seed}"

    @property
    def base(self) -> "PlannedRun | None":
        """The run that it continues."""
        return self._replace(variant=self.variant.base) if self.variant.base else None

    def overrides(self, size: str) -> list[str]:
        """Those of the variant, and the seed."""
        return self.variant.overrides(self.seed, size)

    def seconds(self, size: str) -> float:
        """Those of the variant."""
        return self.variant.seconds(size)


def ablation_variants(model: str) -> list[Variant]:
    """With and without dropout and batch normalization, all trained for EPOCHS; first the recipe's network."""
    layers = [(dropout, batch_norm) for dropout in (True, False) for batch_norm in (True, False)]
    return [Variant(model, *on, early_stopping=False) for on in layers]


def with_early_stopping(model: str) -> Variant:
    """The recipe, which early stopping ends before LONG_EPOCHS epochs, if at all."""
    return Variant(model, epochs=LONG_EPOCHS)


def without_early_stopping(model: str) -> Variant:
    """The recipe, trained for LONG_EPOCHS epochs."""
    return Variant(model, epochs=LONG_EPOCHS, early_stopping=False)


def plan(seeds: Sequence[int]) -> list[PlannedRun]:
    """All runs, the longest first; a run that others continue comes before them.

    Args:
        seeds: of which each variant takes as many as NUM_SEEDS says, from the first one on.
    """
    runs = []
    for model in reversed(MODELS):
        num = NUM_SEEDS[model]
        counts = {
            Variant(model): num.recipe,
            with_early_stopping(model): num.long,
            without_early_stopping(model): num.long,
        }
        counts |= dict.fromkeys(ablation_variants(model), num.ablation)
        counts |= {Variant(model, train_fraction=0.5): num.half}
        counts |= {Variant(model, train_fraction=fraction): num.fractions for fraction in FRACTIONS if fraction < 0.5}
        counts |= {Variant(model, choice=choice): num.choices for choice in CHOICES[model]}
        runs += [PlannedRun(variant, seed) for variant, count in counts.items() for seed in seeds[:count]]
    return runs
