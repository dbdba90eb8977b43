"""Trains a run from a notebook or script; a notebook shows its scores and figures."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import Composer, set_hydra_config, without_hydra
from fmnist_lightning.config.config_files import add_to_path, user_config_dirs
from fmnist_lightning.inference.load import load_run
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.files import relative_path
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training import run as training

FIGURES = ("accuracy", "loss", "confusion_matrix")


@dataclass(frozen=True)
class TrainedRun:
    """A run that was trained. A notebook shows its scores, curves and confusion matrix.

    Args:
        directory: of the run.
        summary: as in its summary.json; `status` is completed, interrupted (Ctrl-C), partial or failed (diverged).
        config_dirs: of the user's config files.
    """

    directory: Path
    summary: dict[str, Any]
    config_dirs: tuple[Path, ...] = ()

    def load(self) -> Predictor:
        """The model of the best checkpoint, to predict with."""
        return load_run(self.directory, self.config_dirs)

    def __repr__(self) -> str:
        summary, test = self.summary, self.summary.get("test")
        scores = f", test accuracy {test['accuracy']:.4f} at epoch {summary['best_epoch']}" if test else ""
        notes = [f"error: {summary['error']}"] if "error" in summary else []
        notes += [f"*** {note} ***" for note in (summary["data_note"], summary["partial"]) if note]
        lines = [f"{summary['model'].upper()}, {summary['status']} after {summary['epochs']} epochs{scores}", *notes]
        return "\n".join([*lines, f"run: {relative_path(self.directory)}"])

    def _repr_html_(self) -> str:
        from fmnist_lightning.evaluation.inline import inline_html

        report = Run(self.directory).report
        figures = {name: report / f"{name}.png" for name in FIGURES}
        return inline_html(repr(self), self.summary, {n: f.read_bytes() for n, f in figures.items() if f.exists()})


def train(cfg: DictConfig, directory: str | Path | None = None) -> TrainedRun:
    """Trains, tests and reports one run, in this process; prints a line for each epoch.

    Args:
        cfg: composed by `fmnist_lightning.compose`; it may be used several times.
        directory: of the run; by default a new one, as on the command line: outputs/MODEL_lrLR_seedSEED_DATE_TIME.

    Raises:
        ValueError: for a configuration that cannot run, naming the override to change.
    """
    if "hydra" not in cfg:
        raise ValueError("cfg: must be composed by fmnist_lightning.compose")
    cfg = copy.deepcopy(cfg)
    OmegaConf.clear_cache(cfg)  # the time in the name of the directory is that of this call
    folder = Path(directory or cfg.hydra.run.dir).absolute()
    config_dirs = user_config_dirs(cfg.hydra)
    add_to_path(config_dirs)
    with Composer():  # restores Hydra's global state, from which the run takes its directory and its command
        set_hydra_config(cfg, str(folder))
        summary = training.train(without_hydra(cfg), folder, list(cfg.hydra.overrides.task))
    return TrainedRun(folder, summary, tuple(config_dirs))
