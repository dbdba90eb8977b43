"""Measures what pruning saves: python docs/scripts/search_pruning.py [TRIALS] [REPEATS], 30 and 3 unless given.

Searches the hyperparameters of the ANN with the median pruner and without pruning, repeatedly. The two searches of a
repeat have the same seed, hence the same first trials, and run at the same time with one thread each. The table has the
time that passed, and that of the processor, which other work on the machine affects less. Repeats that are complete are
kept in outputs/search_pruning; one that was interrupted is measured again. The table and the numbers are written there.
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
    results = {"trials": num_trials, "threads_per_search": 1, "repeats": repeats}
    (FOLDER / "search_pruning.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _read_or_measure(num_trials: int, seed: int) -> dict[str, dict[str, Any]]:
    """The measurements of one repeat, by pruner."""
    stored = FOLDER / f"seed{seed}_{num_trials}.json"
    if stored.exists():
        repeat: dict[str, dict[str, Any]] = json.loads(stored.read_text(encoding="utf-8"))
        return repeat
    searches = {}
    for pruner in PRUNERS:
        folder = FOLDER / f"{pruner}_seed{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        options = [f"search.trials={num_trials}", f"search.pruner={pruner}", f"search.folder={folder}", f"seed={seed}"]
        command = [sys.executable, "-m", "fmnist_lightning.search", "model=ann", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        searches[process.pid] = pruner, process
    started, repeat = time.monotonic(), {}
    while searches:
        pid, status, usage = os.wait4(-1, 0)
        pruner, process = searches.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"error: the search with search.pruner={pruner} seed={seed} failed")
        seconds = {"seconds": time.monotonic() - started, "cpu_seconds": usage.ru_utime + usage.ru_stime}
        repeat[pruner] = {name: round(value, 1) for name, value in seconds.items()} | _result(
            FOLDER / f"{pruner}_seed{seed}"
        )
    stored.write_text(json.dumps(repeat, indent=1) + "\n", encoding="utf-8")
    return repeat


def _result(folder: Path) -> dict[str, Any]:
    with (folder / "search.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    completed = [float(row["val/loss"]) for row in rows if row["state"] == "completed"]
    return {
        "epochs": sum(int(row["epochs"]) for row in rows),
        "pruned": sum(row["state"] == "pruned" for row in rows),
        "failed": sum(row["state"] == "failed" for row in rows),
        "best_val_loss": min(completed),
    }


def _table(repeats: list[dict[str, dict[str, Any]]]) -> str:
    lines = [
        "| seed | pruner | seconds | CPU seconds | epochs | trials pruned | best validation loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, repeat in enumerate(repeats):
        for pruner in PRUNERS:
            result = repeat[pruner]
            cells = [f"{result[name]:.0f}" for name in ("seconds", "cpu_seconds", "epochs", "pruned")]
            cells.append(f"{result['best_val_loss']:.4f}")
            lines.append("| " + " | ".join(map(str, [seed, f"`{pruner}`", *cells])) + " |")
    differences = [repeat["median"]["best_val_loss"] - repeat["none"]["best_val_loss"] for repeat in repeats]
    losses = ", ".join(f"{difference:+.4f}" for difference in differences)
    return "\n".join(
        [
            *lines,
            "",
            f"Time saved: {_saved(repeats, 'seconds')}. CPU time saved: {_saved(repeats, 'cpu_seconds')}. "
            f"Best validation loss with pruning minus without: {losses}.",
        ]
    )


def _saved(repeats: list[dict[str, dict[str, Any]]], name: str) -> str:
    saved = [1 - repeat["median"][name] / repeat["none"][name] for repeat in repeats]
    return f"{statistics.mean(saved):.0%} on average ({', '.join(f'{each:.0%}' for each in saved)})"


if __name__ == "__main__":
    main()
