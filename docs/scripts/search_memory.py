"""Measures the memory of a search: python docs/scripts/search_memory.py [FIRST] [LAST], 10 and 100 trials unless given.

Trains the trials of the ANN for two epochs on 400 synthetic images, in this process and in a temporary directory, and
prints the resident memory after the first and the last trials. The page of the results has been drawn once before both.
"""

import os
import sys
import tempfile
from pathlib import Path

from fmnist_lightning.search import search

TINY = ["data=synthetic", "data.num_train=400", "data.num_test=100", "trainer.max_epochs=2", "trainer.accelerator=cpu"]


def main() -> None:
    """Prints both numbers."""
    first, last = map(int, sys.argv[1:] or (10, 100))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        measured = [_memory_after(num, Path(folder)) for num in (first, last)]
    mib, files = zip(*measured, strict=True)
    print(f"resident memory: {mib[0]:.0f} MiB after {first} trials, {mib[1]:.0f} MiB after {last}")
    print(f"open files: {files[0]} and {files[1]}")


def _memory_after(num_trials: int, folder: Path) -> tuple[float, int]:
    """Mebibytes of resident memory, and open files, after that many trials."""
    search(["model=ann", *TINY, f"data.root={folder}/data", f"search.trials={num_trials}", "search.pruner=none"])
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path("/proc/self/fd").iterdir()))


if __name__ == "__main__":
    main()
