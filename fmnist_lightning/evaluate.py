"""Scores a run's best checkpoint again: python -m fmnist_lightning.evaluate run=DIR [data.root=DIR] [accelerator=cpu].

A run with the user's own code takes the --config-dir DIR with which it was trained.
Reads the run folder and changes nothing in it. Exits with 1 where the scores differ from the run's summary.
"""

from pathlib import Path

from fmnist_lightning.config.config_files import add_to_path
from fmnist_lightning.config.errors import run_command
from fmnist_lightning.config.schema import LIMITS
from fmnist_lightning.config.validate import read_arguments
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.hardware import check_device

# a sum of float32 in another order, on another device, moves the loss by less and at most a few of 10,000 images
TOLERANCE = 5e-4


def main() -> None:
    """Runs the command."""
    run_command(evaluate, __doc__)


def evaluate(arguments: list[str]) -> int:
    """Scores a run again.

    Args:
        arguments: run=DIR, and what may differ on this machine: data.root=DIR, accelerator=NAME, --config-dir DIR.

    Returns:
        0 where validation and test scores agree with the summary, else 1.

    Raises:
        ValueError: an unknown argument, a folder that is no run, a run without scores, or other images than its own.
    """
    given = read_arguments(arguments, {"run": None, "data.root": None, "accelerator": "auto", "--config-dir": None})
    if given["run"] is None:
        raise ValueError("run=DIR is missing: the folder that a run's last line names")
    if not LIMITS["trainer.accelerator"].holds(given["accelerator"]):
        raise ValueError(f"accelerator={given['accelerator']}: must be {LIMITS['trainer.accelerator'].allowed}")
    check_device(given["accelerator"] or "auto")
    run = Run.existing(given["run"])
    summary = run.read_summary()
    if "test" not in summary:
        raise ValueError(f"run={run.folder}: has no scores, its status is {summary['status']}")
    folders = [Path(given["--config-dir"]).resolve()] if given["--config-dir"] else []
    if folders and not folders[0].is_dir():
        raise ValueError(f"--config-dir={given['--config-dir']}: there is no such folder")
    cfg = run.read_config(folders=folders)
    add_to_path(folders)

    from hydra.utils import instantiate
    from rich.console import Console

    from fmnist_lightning.evaluation.scores import score
    from fmnist_lightning.evaluation.terminal import print_scores
    from fmnist_lightning.training.run import test

    # the source that the run found, where it was to choose
    root = given["data.root"] or cfg.data.root
    data = instantiate(cfg.data, source=summary["data"], root=root, _convert_="all")
    data.setup()
    for fingerprint in ("data_sha256", "split_sha256"):
        if data.facts[fingerprint] != summary[fingerprint]:
            raise ValueError(f"run={run.folder}: these are not its images, {fingerprint} differs; set data.root=DIR")
    model, _ = run.load_best(cfg)
    val, logits = test(model, data, summary["precision"], given["accelerator"] or "auto")
    scores = score(logits, data.labels["test"], data.class_names)
    print_scores(scores, data.class_names, Console(highlight=False))
    differences = {
        f"{stage} {name}": (again[name], summary[stage][name])
        for stage, again in (("val", val), ("test", scores))
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
