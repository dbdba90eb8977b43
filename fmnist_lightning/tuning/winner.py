"""The best trial of a search, trained with other seeds as ordinary runs, which are tested."""

import shutil
import statistics
from collections.abc import Sequence

from filelock import FileLock
from optuna.trial import FrozenTrial

from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.run import Run
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.trial import overrides_of, train_composed


def train_winner(search: Search, winner: FrozenTrial) -> None:
    """Trains and tests the best trial with the `num_final` seeds after that of the trials; completed runs are kept.

    Raises:
        ValueError: a run failed.
    """
    num = search.num_final
    overrides = [typed for typed in overrides_of(search, winner.params) if not typed.startswith("seed=")]
    print(f"trial {winner.number} with {num} seed{'s' * (num > 1)} that the search has not used, tested:")
    rows = []
    with FileLock(search.folder / ".final.lock"):  # another process that joined the search finds the runs completed
        for seed in range(search.seed + 1, search.seed + 1 + num):
            run = Run(search.folder.absolute() / f"final_trial_{winner.number:04d}_seed{seed}")
            rows.append(_train_once(search, run, [*overrides, f"seed={seed}"]))
            val, test = rows[-1]
            folder = relative_path(run.folder)
            print(f"seed {seed}: val/loss {val:.4f}, test accuracy {test:.4f}, {folder}", flush=True)
    losses, accuracies = zip(*rows, strict=True)
    print(f"{num} runs: val/loss {_mean(losses)}, test accuracy {_mean(accuracies)} (mean ± standard deviation)")


def _train_once(search: Search, run: Run, overrides: Sequence[str]) -> tuple[float, float]:
    """Validation loss and test accuracy of a run, trained unless it is completed."""
    if not (run.summary_json.exists() and run.is_completed()):
        if run.folder.exists():
            shutil.rmtree(run.folder)
        status = train_composed(search, run.folder, overrides)["status"]
        if status == "interrupted":
            raise KeyboardInterrupt
        if status != "completed":
            raise ValueError(f"{run.folder}: {status}, {run.read_summary().get('error', 'without scores')}")
    summary = run.read_summary()
    return summary["val"]["loss"], summary["test"]["accuracy"]


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.4f}" + (f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else "")
