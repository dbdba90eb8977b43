"""Scores a run's best checkpoint again and compares the scores with its summary.

python -m fmnist_lightning.evaluate run=DIR [KEY=VALUE]

run=DIR              the run's directory, which it printed as its last line
data.root=DIR        the directory of the dataset; the run's unless given
accelerator=NAME     auto (the best available), cpu or gpu
tta=BOOL             true also scores probabilities averaged over each image and its mirror image
--config-dir=DIR     as typed when the run was trained with your own code

Writes nothing. Exits with 1 if the scores differ from the run's summary.
"""

import itertools
from dataclasses import dataclass
from typing import Any

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import add_to_path, config_dirs_of
from fmnist_lightning.config.constraints import one_of
from fmnist_lightning.config.devices import check_device
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.scored import read_scored_summary
from fmnist_lightning.training.stages import clear_stage, show_stage

# float32 results differ between devices: the loss by less than this, the accuracy by a few of 10,000 images
TOLERANCE = 5e-4


def main() -> None:
    """Runs the command."""
    run_command(evaluate, __doc__)


@dataclass
class Arguments:
    """The arguments of the command."""

    run: str = argument("run=DIR", missing="the directory that a run prints as its last line")
    data_root: str | None = argument("data.root=DIR", None)
    accelerator: str = argument("accelerator=NAME", "auto", SCHEMA["trainer.accelerator"])
    tta: bool = argument("tta=BOOL", False, one_of(True, False))
    config_dir: str | None = argument("--config-dir=DIR", None)


def evaluate(argv: list[str]) -> int:
    """Scores a run again; 0 if validation and test scores agree with its summary, else 1."""
    arguments = parse_arguments(Arguments, argv)
    check_device(arguments.accelerator, key="accelerator")
    run = Run.existing(arguments.run)
    summary = read_scored_summary(run)
    config_dirs = config_dirs_of(arguments.config_dir)
    cfg = run.read_config(config_dirs=config_dirs)
    add_to_path(config_dirs)

    try:
        show_stage("loading PyTorch")
        from fmnist_lightning.data import FashionMNISTData
        from fmnist_lightning.evaluation.terminal import print_scores
        from fmnist_lightning.training.scoring import score_run

        scores = score_run(run, cfg, arguments.data_root, arguments.accelerator, arguments.tta, show_stage)
    finally:
        clear_stage()
    print_scores(scores["test"], FashionMNISTData.class_names)
    agrees = _compare(scores, summary)
    for stage, means in scores.get("flip_averaging", {}).items():
        print(f"{stage} accuracy with flip averaging {means['accuracy']:.4f}, loss {means['loss']:.4f}")
    print(f"run: {run.folder}")
    return 0 if agrees else 1


def _compare(scores: dict[str, Any], summary: dict[str, Any]) -> bool:
    """Prints the scores beside those of the summary; whether they agree."""
    agrees = True
    for stage, name in itertools.product(("val", "test"), ("loss", "accuracy")):
        score, expected = scores[stage][name], summary[stage][name]
        print(f"{stage + ' ' + name:>13} {score:.4f}, in summary.json {expected:.4f}")
        agrees = agrees and abs(score - expected) <= TOLERANCE
    print("agrees with its summary" if agrees else "DOES NOT AGREE with its summary")
    return agrees


if __name__ == "__main__":
    main()
