"""A search from start to end."""

from fmnist_lightning.runs.provenance import code_sha256
from fmnist_lightning.tuning.cluster import work_in_jobs
from fmnist_lightning.tuning.processes import work_in_processes
from fmnist_lightning.tuning.results import command_of, write_page, write_table
from fmnist_lightning.tuning.retries import counted
from fmnist_lightning.tuning.search import Search
from fmnist_lightning.tuning.storage import open_study, shown
from fmnist_lightning.tuning.table import Table


def run_search(search: Search) -> None:
    """Trains trials until the study has all of them; prints and writes the results; trains the winner.

    Raises:
        ValueError: the storage cannot be reached, its study differs, or no trial was completed.
    """
    study = open_study(search)
    print(f"study {search.study} in {shown(search.storage)}; trials in {search.folder}")
    for key, parameter in search.space.items():
        print(f"  {key}={parameter.typed}")
    code = code_sha256()
    num = sum(trial.user_attrs.get("code_sha256", code) != code for trial in counted(study))
    if num:
        print(f"warning: other code trained {num} of the trials; search.study=NAME starts a study without them")
    table = Table(search)
    print(table.header(), flush=True)
    if search.launcher:
        work_in_jobs(search, study, table)
    else:
        work_in_processes(search)

    trials = counted(study)
    write_table(search, study)
    print("", *table.final(trials), sep="\n")
    if not any(trial.state.name == "COMPLETE" for trial in trials):
        raise ValueError("no trial was completed")
    best = study.best_trial
    for note in filter(None, (best.user_attrs.get("data_note"), best.user_attrs.get("partial"))):
        print(f"*** {note} ***")
    print(f"best: {command_of(search, best)}")
    print(f"table: {search.folder / 'search.csv'}")
    print(f"report: {write_page(search, study)}", flush=True)
    if search.num_final:
        from fmnist_lightning.tuning.winner import train_winner

        train_winner(search, best)
