"""Alternative texts of the figures: what each one shows, in numbers, for readers who do not see it."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

Result = dict[str, Any]


def scores(result: Result, model: str) -> str:
    """Of F1 by class and accuracy, reported and reproduced."""
    f1 = {row["name"]: row["f1"] for row in result["per_class"]}
    lowest, highest = (choose(f1, key=lambda name: f1[name]["mean"]) for choose in (min, max))
    outside = [name for name, value in (f1 | {"accuracy": result["accuracy"]}).items() if value["within"] is False]
    return (
        f"{model.upper()}: mean F1 from {f1[lowest]['mean']:.3f} ({lowest}) to {f1[highest]['mean']:.3f} ({highest}), "
        f"accuracy {result['accuracy']['mean']:.3f}; reported accuracy {result['accuracy']['reported']:.2f}. "
        f"Reported value outside the prediction interval: {', '.join(outside) or 'none'}."
    )


def curves(runs: Sequence[Result], model: str, measure: str) -> str:
    """Of accuracy or loss by epoch."""
    best = [run["best_epoch"] for run in runs]
    stopped = sum(run["stopped_early"] for run in runs)
    return (
        f"{model.upper()}, means of {len(runs)} runs. {_by_epoch(runs, measure)} Best epochs {min(best)} to "
        f"{max(best)}; early stopping ended {stopped} of {len(runs)} runs."
    )


def stopping(runs: Sequence[Result], result: Result, model: str) -> str:
    """Of the losses without early stopping."""
    selected, last = (f"{min(result[key])} to {max(result[key])}" for key in ("selected_epoch", "last_epoch"))
    return (
        f"{model.upper()} without early stopping, means of {len(runs)} runs. {_by_epoch(runs, 'loss')} Early stopping "
        f"selects epochs {selected} and ends {result['num_stopped']} of the runs; last epochs {last}."
    )


def ablation(result: Result, model: str) -> str:
    """Of the validation loss of the four variants by epoch."""
    variants = ", ".join(
        f"{variant['val_loss']['mean']:.3f} and {variant['val_loss_last']['mean']:.3f} "
        f"({name_layers(variant['dropout'], variant['batch_norm'])})"
        for variant in result["variants"]
    )
    return (
        f"{model.upper()}, validation loss by epoch of four variants. In the best epoch and in epoch "
        f"{result['epochs']}: {variants}."
    )


def training_sizes(sizes: dict[str, list[Result]], laws: dict[str, Result | None]) -> str:
    """Of the test accuracy by the number of training images."""
    models = "; ".join(
        f"{model.upper()} " + ", ".join(f"{row['accuracy']['mean']:.3f} with {row['images']:,}" for row in rows)
        for model, rows in sizes.items()
    )
    predicted = "".join(
        f" The power law predicts {law['doubling']['accuracy']:.3f} for the {model.upper()} with "
        f"{law['doubling']['images']:,} images."
        for model, law in laws.items()
        if law
    )
    return f"Mean test accuracy by the number of training images: {models}.{predicted}"


def choices(rows: Sequence[Result], model: str) -> str:
    """Of the effect of each alternative on the validation accuracy; rows without the recipe."""
    effects = ", ".join(f"{row['choice']} {100 * row['val_accuracy_difference']['mean']:+.2f}" for row in rows)
    return f"{model.upper()}, validation accuracy minus the recipe's in percentage points: {effects}."


def name_layers(dropout: bool, batch_norm: bool) -> str:
    """The name of a variant of the ablation."""
    return {(True, True): "dropout and BN", (True, False): "dropout only", (False, True): "BN only"}.get(
        (dropout, batch_norm), "neither"
    )


def _by_epoch(runs: Sequence[Result], measure: str) -> str:
    """Means over the runs that reach the first, the last and four epochs between."""
    last = max(len(run["history"][f"val/{measure}"]) for run in runs)
    epochs = sorted({max(1, round(last * i / 5)) for i in range(6)})
    stages = "; ".join(
        f"{words} {measure} " + ", ".join(f"{_mean(runs, key, epoch):.3f}" for epoch in epochs)
        for words, key in (("training", f"train/{measure}"), ("validation", f"val/{measure}"))
    )
    return f"In epochs {', '.join(map(str, epochs))}: {stages}."


def _mean(runs: Sequence[Result], key: str, epoch: int) -> float:
    return float(mean(run["history"][key][epoch - 1] for run in runs if len(run["history"][key]) >= epoch))
