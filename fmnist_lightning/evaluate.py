"""Scores a run's best checkpoint again: python -m fmnist_lightning.evaluate run=DIR [data.root=DIR] [accelerator=cpu].

A run with the user's own code takes the --config-dir DIR with which it was trained.
Writes nothing. Exits with 1 if the scores differ from the run's summary.
"""

from dataclasses import dataclass
from pathlib import Path

from fmnist_lightning.config.arguments import argument, parse_arguments
from fmnist_lightning.config.config_files import add_to_path
from fmnist_lightning.config.devices import check_device
from fmnist_lightning.config.errors import run_command
from fmnist_lightning.config.schema import SCHEMA
from fmnist_lightning.runs.run import Run

# summing float32 in another order, on another device, changes the loss by less, and a few of 10,000 predictions
TOLERANCE = 5e-4


def main() -> None:
    """Runs the command."""
    run_command(evaluate, __doc__)


@dataclass
class Arguments:
    """What may be typed."""

    run: str = argument("run=DIR", missing="the directory that a run prints as its last line")
    data_root: str | None = argument("data.root=DIR", None)
    accelerator: str = argument("accelerator=NAME", "auto", SCHEMA["trainer.accelerator"])
    config_dir: str | None = argument("--config-dir=DIR", None)


def evaluate(argv: list[str]) -> int:
    """Scores a run again.

    Args:
        argv: run=DIR, and what may differ on this machine: data.root=DIR, accelerator=NAME, --config-dir DIR.

    Returns:
        0 if validation and test scores agree with the summary, else 1.

    Raises:
        ValueError: an unknown argument, a directory without a run, a run without scores, or other images than its own.
    """
    given = parse_arguments(Arguments, argv)
    check_device(given.accelerator)
    run = Run.existing(given.run)
    summary = run.read_summary()
    if "test" not in summary:
        raise ValueError(f"run={run.folder}: has no scores, its status is {summary['status']}")
    folders = [Path(given.config_dir).resolve()] if given.config_dir else []
    if folders and not folders[0].is_dir():
        raise ValueError(f"--config-dir={given.config_dir}: no such directory")
    cfg = run.read_config(folders=folders)
    add_to_path(folders)

    from hydra.utils import instantiate
    from rich.console import Console

    from fmnist_lightning.evaluation.terminal import print_scores
    from fmnist_lightning.inference.predictor import choose_device, load_best
    from fmnist_lightning.training.scoring import score_splits

    # the data source that the run used, also if its config says auto
    root = given.data_root or cfg.data.root
    data = instantiate(cfg.data, source=summary["data"], root=root, _convert_="all")
    data.setup()
    for fingerprint in ("data_sha256", "split_sha256"):
        if data.dataset_info[fingerprint] != summary[fingerprint]:
            raise ValueError(f"run={run.folder}: these are not its images, {fingerprint} differs; set data.root=DIR")
    predictor = load_best(run, cfg, choose_device(given.accelerator), summary["precision"])
    scores, _ = score_splits(predictor, data)
    print_scores(scores["test"], data.class_names, Console(highlight=False))
    differences = {
        f"{stage} {name}": (scores[stage][name], summary[stage][name])
        for stage in ("val", "test")
        for name in ("loss", "accuracy")
    }
    for name, (again, before) in differences.items():
        print(f"{name:>13} {again:.4f}, in summary.json {before:.4f}")
    agrees = all(abs(again - before) <= TOLERANCE for again, before in differences.values())
    print("agrees with its summary" if agrees else "DOES NOT AGREE with its summary")
    print(f"run: {run.folder}")
    return 0 if agrees else 1


if __name__ == "__main__":
    main()
