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
    stages = "; ".join(
        f"{words} {measure} {_first(runs, key):.3f} in epoch 1, {_best(runs, key):.3f} in the best epoch"
        for words, key in (("training", f"train/{measure}"), ("validation", f"val/{measure}"))
    )
    best = [run["best_epoch"] for run in runs]
    stopped = sum(run["stopped_early"] for run in runs)
    return (
        f"{model.upper()}, means of {len(runs)} runs: {stages}. Best epochs {min(best)} to {max(best)}; early stopping "
        f"ended {stopped} of {len(runs)} runs."
    )


def ablation(result: Result, model: str) -> str:
    """Of the validation loss of the four variants by epoch."""
    variants = ", ".join(
        f"{variant['val_loss']['mean']:.3f} {name_layers(variant['dropout'], variant['batch_norm'])}"
        for variant in result["variants"]
    )
    return f"{model.upper()}, validation loss by epoch of four variants. In the best epoch: {variants}."


def training_sizes(sizes: dict[str, list[Result]]) -> str:
    """Of the test accuracy by the number of training images."""
    models = "; ".join(
        f"{model.upper()} from {rows[0]['accuracy']['mean']:.3f} to {rows[-1]['accuracy']['mean']:.3f}"
        for model, rows in sizes.items()
    )
    first, *_, last = (row["images"] for row in next(iter(sizes.values())))
    return f"Mean test accuracy with {first:,} to {last:,} training images: {models}."


def name_layers(dropout: bool, batch_norm: bool) -> str:
    """The name of a variant of the ablation."""
    return {(True, True): "dropout and BN", (True, False): "dropout only", (False, True): "BN only"}.get(
        (dropout, batch_norm), "neither"
    )


def _first(runs: Sequence[Result], key: str) -> float:
    return float(mean(run["history"][key][0] for run in runs))


def _best(runs: Sequence[Result], key: str) -> float:
    return float(mean(run["history"][key][run["best_epoch"] - 1] for run in runs))
