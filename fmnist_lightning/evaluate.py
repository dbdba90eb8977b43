"""Scores a run's best checkpoint again and compares the scores with its summary.

python -m fmnist_lightning.evaluate run=DIR [KEY=VALUE]

run=DIR              the run's directory, which it printed as its last line
data.root=DIR        the directory of the dataset; the run's unless given
accelerator=NAME     auto (the best available), cpu or gpu
--config-dir=DIR     as typed when the run was trained with your own code

Writes nothing. Exits with 1 if the scores differ from the run's summary.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fmnist_lightning.config.arguments import argument, parse_arguments, run_command
from fmnist_lightning.config.config_files import add_to_path
from fmnist_lightning.config.devices import check_device
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.runs.run import Run
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
    config_dir: str | None = argument("--config-dir=DIR", None)


def evaluate(argv: list[str]) -> int:
    """Scores a run again; 0 if validation and test scores agree with its summary, else 1."""
    arguments = parse_arguments(Arguments, argv)
    check_device(arguments.accelerator)
    run = Run.existing(arguments.run)
    summary = run.read_summary()
    if "test" not in summary:
        raise ValueError(f"run={run.folder}: has no scores, its status is {summary['status']}")
    config_dirs = [Path(arguments.config_dir).resolve()] if arguments.config_dir else []
    if config_dirs and not config_dirs[0].is_dir():
        raise ValueError(f"--config-dir={arguments.config_dir}: no such directory")
    cfg = run.read_config(config_dirs=config_dirs)
    add_to_path(config_dirs)

    try:
        scores = _score(run, cfg, summary, arguments)
    finally:
        clear_stage()

    from fmnist_lightning.data import FashionMNISTData
    from fmnist_lightning.evaluation.terminal import print_scores

    print_scores(scores["test"], FashionMNISTData.class_names)
    agrees = _compare(scores, summary)
    print(f"run: {run.folder}")
    return 0 if agrees else 1


def _score(run: Run, cfg: DictConfig, summary: dict[str, Any], arguments: Arguments) -> dict[str, Any]:
    show_stage("loading PyTorch")

    from hydra.utils import instantiate

    from fmnist_lightning.inference.predictor import choose_device, load_best
    from fmnist_lightning.training.scoring import score_splits

    show_stage("loading the data")
    predictor = load_best(run, cfg, choose_device(arguments.accelerator), summary["precision"])
    # the data source that the run used, also if its config says auto
    root = arguments.data_root or cfg.data.root
    data = instantiate(cfg.data, source=summary["data"], root=root, _convert_="all")
    data.setup()
    data.check_images(summary, f"run={run.folder}")
    show_stage("testing the best checkpoint")
    scores, _ = score_splits(predictor, data)
    return scores


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
