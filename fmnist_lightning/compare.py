"""Compares runs: settings, scores, paired differences, curves, single images.

python -m fmnist_lightning.compare runs=[DIR,DIR,...] [KEY=VALUE]

runs=[DIR,DIR,...]   run directories, patterns such as runs='outputs/ann_*', and
                     directories of several runs such as a sweep's
reference=NAME       the run that the others are compared with: first, or best,
                     by the metric that chose the best checkpoint
output=FILE.html     outputs/compare.html unless given
data.root=DIR        the directory of the dataset; the run's unless given
--config-dir=DIR     as typed when the runs were trained with your own code

Prints tables and writes one self-contained page. Trains and downloads nothing.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import config_dirs_of
from fmnist_lightning.config.constraints import one_of
from fmnist_lightning.config.machine import check_writable
from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.runs import differences
from fmnist_lightning.runs.compared import ScoredRun, read_runs
from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.training.stages import clear_stage, show_stage

if TYPE_CHECKING:  # arguments are rejected before torch is imported
    from fmnist_lightning.evaluation.comparison import Comparison

MARKER = b'<meta name="generator" content="fmnist_lightning.compare">'  # in every page; no other file is overwritten


def main() -> None:
    """Runs the command."""
    run_command(compare, __doc__)


@dataclass
class Arguments:
    """The arguments of the command."""

    runs: str = argument("runs=[DIR,DIR,...]", missing="the directories that runs print as their last line")
    reference: str = argument("reference=NAME", "first", one_of("first", "best"))
    output: str = argument("output=FILE.html", "outputs/compare.html")
    data_root: str | None = argument("data.root=DIR", None)
    config_dir: str | None = argument("--config-dir=DIR", None)


def compare(argv: list[str]) -> None:
    """Prints the comparison and writes its page."""
    arguments = parse_arguments(Arguments, argv)
    output = Path(arguments.output)
    if output.is_dir() or (output.exists() and MARKER not in output.read_bytes()[:1000]):
        raise ValueError(f"output={output}: exists and is not a comparison; not overwritten. Choose another output")
    check_writable(output.parent, f"output={output}")
    config_dirs = config_dirs_of(arguments.config_dir)
    runs, left_out = read_runs(arguments.runs, config_dirs)
    reference = differences.best_run(runs) if arguments.reference == "best" else runs[0]

    try:
        show_stage("loading PyTorch")
        from fmnist_lightning.evaluation.comparison_page import build_page
        from fmnist_lightning.evaluation.comparison_terminal import print_comparison
        from fmnist_lightning.inference.run_data import read_test_images

        comparison = _compare(runs, reference, arguments.reference, left_out)
        show_stage("loading the images")
        cfg = reference.run.read_config(config_dirs=config_dirs)
        images = read_test_images(reference.run, cfg, arguments.data_root)
        show_stage("writing the page")
        page = build_page(comparison, images, f"python -m fmnist_lightning.compare {shlex.join(argv)}")
        output.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(output, page)
    finally:
        clear_stage()
    print_comparison(comparison)
    print(f"comparison: {output}")


def _compare(runs: list[ScoredRun], reference: ScoredRun, choice: str, left_out: list[str]) -> "Comparison":
    show_stage("reading the predictions")
    from fmnist_lightning.evaluation.choice import name_choice
    from fmnist_lightning.evaluation.comparison import ComparedRun, Comparison

    compared = {
        run.name: ComparedRun(run.name, str(run.run.folder), run.summary, run.read_epochs(), *run.read_predictions())
        for run in runs
    }
    return Comparison(
        runs=list(compared.values()),
        reference=compared[reference.name],
        reason=name_choice(reference.monitored) if choice == "best" else "the first run",
        settings=differences.differences(runs) | differences.recorded_differences(runs),
        groups=[[compared[run.name] for run in group] for group in differences.seed_groups(runs)],
        names={run.name for run in runs if differences.compares(run, reference)},
        warnings=[*differences.limitations(runs, reference), *left_out],
        class_names=CLASS_NAMES,
    )


if __name__ == "__main__":
    main()
