"""Measures what pruning saves: python docs/scripts/search_pruning.py [TRIALS] [REPEATS], 30 and 3 unless given.

Searches the hyperparameters of the ANN with the median pruner and without pruning, repeatedly. The two searches of a
repeat have the same seed, hence the same first trials, and run at the same time with one core each, so that other work
on the machine slows both. Searches in outputs/search_pruning that are complete are kept; a search that was interrupted
is repeated, as its time would be wrong. Prints a table, and writes it and the numbers to outputs/search_pruning.
"""

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path("outputs/search_pruning")
PRUNERS = ("median", "none")


def main() -> None:
    """Runs the searches that are missing, and prints the table."""
    num_trials, num_repeats = map(int, sys.argv[1:] or (30, 3))
    FOLDER.mkdir(parents=True, exist_ok=True)
    repeats = [_read_or_measure(num_trials, seed) for seed in range(num_repeats)]
    table = _table(repeats)
    print(table)
    (FOLDER / "search_pruning.md").write_text(table + "\n", encoding="utf-8")
    results = {"trials": num_trials, "cores_per_search": 1, "repeats": repeats}
    (FOLDER / "search_pruning.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _read_or_measure(num_trials: int, seed: int) -> dict[str, dict[str, Any]]:
    """The measurements of one repeat, by pruner."""
    stored = FOLDER / f"seed{seed}_{num_trials}.json"
    if stored.exists():
        repeat: dict[str, dict[str, Any]] = json.loads(stored.read_text(encoding="utf-8"))
        return repeat
    cores = sorted(os.sched_getaffinity(0))
    searches, ended = {}, {}
    for pruner, core in zip(PRUNERS, cores, strict=False):
        folder = FOLDER / f"{pruner}_seed{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        options = [f"search.trials={num_trials}", f"search.pruner={pruner}", f"search.folder={folder}", f"seed={seed}"]
        command = ["taskset", "-c", str(core), sys.executable, "-m", "fmnist_lightning.search", "model=ann", *options]
        searches[pruner] = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    started = time.monotonic()
    while len(ended) < len(searches):
        time.sleep(0.1)
        for pruner, process in searches.items():
            if pruner not in ended and process.poll() is not None:
                if process.returncode:
                    sys.exit(f"error: the search with search.pruner={pruner} seed={seed} failed")
                ended[pruner] = time.monotonic() - started
    repeat = {pruner: _result(FOLDER / f"{pruner}_seed{seed}", ended[pruner]) for pruner in PRUNERS}
    stored.write_text(json.dumps(repeat, indent=1) + "\n", encoding="utf-8")
    return repeat


def _result(folder: Path, seconds: float) -> dict[str, Any]:
    with (folder / "search.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    completed = [float(row["val/loss"]) for row in rows if row["state"] == "completed"]
    return {
        "seconds": round(seconds, 1),
        "epochs": sum(int(row["epochs"]) for row in rows),
        "pruned": sum(row["state"] == "pruned" for row in rows),
        "failed": sum(row["state"] == "failed" for row in rows),
        "best_val_loss": min(completed),
    }


def _table(repeats: list[dict[str, dict[str, Any]]]) -> str:
    lines = ["| seed | pruner | seconds | epochs | trials pruned | best validation loss |", "|---|---|---|---|---|---|"]
    for seed, repeat in enumerate(repeats):
        for pruner, result in repeat.items():
            cells = [f"{result['seconds']:.0f}", result["epochs"], result["pruned"], f"{result['best_val_loss']:.4f}"]
            lines.append("| " + " | ".join(map(str, [seed, f"`{pruner}`", *cells])) + " |")
    saved = [1 - repeat["median"]["seconds"] / repeat["none"]["seconds"] for repeat in repeats]
    differences = [repeat["median"]["best_val_loss"] - repeat["none"]["best_val_loss"] for repeat in repeats]
    losses = ", ".join(f"{difference:+.4f}" for difference in differences)
    return "\n".join(
        [
            *lines,
            "",
            f"Time saved: {statistics.mean(saved):.0%} on average ({', '.join(f'{each:.0%}' for each in saved)}). "
            f"Best validation loss with pruning minus without: {losses}.",
        ]
    )


if __name__ == "__main__":
    main()
