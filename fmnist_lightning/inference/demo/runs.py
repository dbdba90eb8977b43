"""The runs that the demo page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fmnist_lightning.inference.load import load_run
from fmnist_lightning.inference.neighbors import Neighbors
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.inference.run_data import read_images
from fmnist_lightning.runs.run import Run


@dataclass(frozen=True)
class ShownRun:
    """A run of the page."""

    name: str
    note: str  # its test accuracy, and a warning if it was not trained on Fashion-MNIST
    predictor: Predictor
    neighbors: Neighbors | None
    no_neighbors: str = ""  # why there are none


def load_shown_run(run: Run, config_dirs: Sequence[Path], accelerator: str, root: str | None) -> ShownRun:
    """Loads a run with its model and its training images; arguments as those of the command.

    Raises:
        ValueError: as `load_run`; or the images are not in `root`, if it is given.
    """
    summary = run.read_summary()
    predictor = load_run(run.folder, config_dirs, accelerator, data_root=root)
    name = f"{type(predictor.model).__name__}: {run.folder.resolve().name}"
    note = f"test accuracy {summary['test']['accuracy']:.4f}"
    if summary.get("data_note"):
        note += f"; trained on {summary['data_note']}"
    cfg = run.read_config(config_dirs=config_dirs)
    data = read_images(run, cfg, root)
    if data is None:
        reason = f"Its training images are not in {cfg.data.root}; data.root=DIR names their directory."
        return ShownRun(name, note, predictor, None, reason)
    images, labels = data.images["train"], data.labels["train"]
    if predictor.features(images[:1]).shape[1] == 0:
        return ShownRun(name, note, predictor, None, "This model has no linear layer, whose inputs are compared.")
    return ShownRun(name, note, predictor, Neighbors(predictor, images, labels))
