"""Tables of the variants of the recipe: dropout and batch normalization, and what the paper does not specify."""

from typing import Any

from fmnist_lightning.evaluation.statistics import describe
from fmnist_lightning.study.curves import epochs_to, fluctuation
from fmnist_lightning.study.plan import CHOICES, EPOCHS, Variant, ablation_variants
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.training_claims import LOSS_TO_REACH

Result = dict[str, Any]


def ablation(records: Records, model: str) -> Result:
    """The four variants with and without dropout and batch normalization, all trained for the same number of epochs."""
    variants = ablation_variants(model)
    seeds = sorted(set.intersection(*(set(records[variant]) for variant in variants)))
    rows = []
    for variant in variants:
        runs = [records[variant][seed] for seed in seeds]
        fluctuations = [value for run in runs if (value := fluctuation(run)) is not None]
        rows.append(
            {
                "dropout": variant.dropout,
                "batch_norm": variant.batch_norm,
                "accuracy": describe([run.accuracy for run in runs]),
                "val_loss": describe([run.scores["best"]["val/loss"] for run in runs]),
                "val_loss_last": describe([run.scores["last"]["val/loss"] for run in runs]),
                "gap": describe([run.gap("best") for run in runs]),
                "gap_last": describe([run.gap("last") for run in runs]),
                "epochs_to_reach": describe([epochs_to(run, LOSS_TO_REACH[model]) for run in runs]),
                "fluctuation": describe(fluctuations) if len(fluctuations) == len(runs) else None,
                "epoch_seconds": describe([run.summary["fit_seconds"] / len(run.epochs) for run in runs]),
            }
        )
    epochs = len(records[variants[0]][seeds[0]].epochs)
    return {"seeds": seeds, "epochs": epochs, "loss_to_reach": LOSS_TO_REACH[model], "variants": rows}


def choices(records: Records, model: str) -> list[Result]:
    """The recipe, then each alternative to it, paired by seed."""
    variants = {"the recipe": Variant(model)}
    variants |= {choice: Variant(model, choice=choice) for choice in CHOICES[model]}
    variants[f"callbacks.early_stopping.patience={EPOCHS}"] = ablation_variants(model)[0]  # never ends a run
    seeds = sorted(set.intersection(*(set(records[variant]) for variant in variants.values())))
    recipe = [records[Variant(model)][seed] for seed in seeds]
    rows = []
    for choice, variant in variants.items():
        runs = [records[variant][seed] for seed in seeds]

        def minus_recipe(
            key: str, runs: list[Record] = runs, paired: bool = variant != Variant(model)
        ) -> Result | None:
            pairs = zip(runs, recipe, strict=True)
            return describe([a.summary["val"][key] - b.summary["val"][key] for a, b in pairs]) if paired else None

        rows.append(
            {
                "choice": choice,
                "seeds": seeds,
                "val_loss": describe([run.summary["val"]["loss"] for run in runs]),
                "val_accuracy": describe([run.summary["val"]["accuracy"] for run in runs]),
                "val_loss_difference": minus_recipe("loss"),
                "val_accuracy_difference": minus_recipe("accuracy"),
                "accuracy": describe([run.accuracy for run in runs]),
                "best_epoch": [run.summary["best_epoch"] for run in runs],
                "epochs": [run.summary["epochs"] for run in runs],
                "parameters": runs[0].summary["parameters"],
                "fit_seconds": describe([run.summary["fit_seconds"] for run in runs]),
            }
        )
    return rows
