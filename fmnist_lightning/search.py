"""Searches hyperparameters, stops unpromising trials early: python -m fmnist_lightning.search [KEY=VALUE] [OVERRIDES].

search.trials=40        trials of the study, in total
search.pruner=median    median, hyperband or none: which trials end early
search.space.KEY=...    changes the search space, which conf/search/ has by model:
                        'search.space.optimizer.lr=tag(log,interval(1e-4,1e-2))',
                        'search.space.data.batch_size=choice(64,128)',
                        '~search.space.model.dropout' removes a key
search=NAME             the space of another file in conf/search/
search.final=0          trains the best trial with that many other seeds, and
                        tests these runs; trials are never tested
search.study=NAME       name of the study: that of the space unless given
search.folder=DIR       of the trials: outputs/search_STUDY unless given
search.storage=URL      study.journal in that directory unless given; another
                        file, sqlite:///FILE or postgresql://USER@HOST/DATABASE
search.heartbeat=20     seconds between a worker's heartbeats in a database;
                        after three without one its trial is repeated
search.jobs=1           trials at a time; they share the cores
OVERRIDES               as of the train command, the same for all trials

Optimizes the metric of callbacks.best_checkpoint.monitor, val/loss or
val/accuracy. The same command continues a study, and joins it from a second
terminal; with a database also from another machine. Needs the extra "search".
"""

import sys
from collections.abc import Sequence

from fmnist_lightning.config.arguments import run_command
from fmnist_lightning.config.errors import Interrupted
from fmnist_lightning.config.extras import check_installed
from fmnist_lightning.tuning.command_line import parse

CONTINUE = "the same command continues the search"


def main() -> None:
    """Runs the command."""
    run_command(search, __doc__, f"interrupted: {CONTINUE}")


def search(argv: Sequence[str]) -> None:
    """Trains trials until the study has all of them; prints the best ones.

    Raises:
        ValueError: an invalid command line, a storage that cannot be reached, or no trial was completed.
    """
    check_installed("optuna", "fmnist_lightning.search")
    parsed = parse(argv)

    from fmnist_lightning.tuning.run import run_search

    try:
        run_search(parsed)
    except Interrupted as interruption:
        print(f"{interruption}: {CONTINUE}", flush=True)
        sys.exit(interruption.status)


if __name__ == "__main__":
    main()
