"""Which runs are compared: paths and patterns in, runs with scores out, all validated. Imports no torch until asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from fmnist_lightning.config.arguments import split_list
from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.runs.patterns import find_folders
from fmnist_lightning.runs.ranking import rank_of
from fmnist_lightning.runs.run import SUMMARY, Run
from fmnist_lightning.runs.scored import read_scored_summary

if TYPE_CHECKING:  # arguments are rejected before torch is imported
    from torch import Tensor


@dataclass(frozen=True)
class ScoredRun:
    """A run with scores.

    Args:
        name: a letter, by which outputs refer to it.
        run: its directory.
        summary: validated.
        config: its leaves as text, by dotted key.
    """

    name: str
    run: Run
    summary: dict[str, Any]
    config: dict[str, str]

    @property
    def monitored(self) -> dict[str, Any]:
        """The metric that chose the best checkpoint, its mode and value; in older versions the validation loss."""
        rank = rank_of(self.summary)
        return {"metric": rank["monitored"], "mode": rank["mode"], "value": rank["value"]}

    def read_predictions(self) -> "tuple[Tensor, Tensor]":
        """Labels (N,) and probabilities (N, 10) of the test images.

        Raises:
            ValueError: they are not those of its summary.
        """
        labels, probabilities = self.run.read_predictions()
        is_table = probabilities.dim() == 2 and probabilities.shape[1] == 10 and bool(probabilities.isfinite().all())
        if is_table and ((labels >= 0) & (labels < 10)).all():
            accuracy = (probabilities.argmax(dim=1) == labels).double().mean().item()
            if abs(accuracy - self.summary["test"]["accuracy"]) < 1e-5:
                return labels, probabilities
        raise ValueError(f"{self.run.predictions_csv}: damaged, not the predictions that its {SUMMARY} scores")

    def read_epochs(self) -> list[dict[str, float]]:
        """A row per epoch, with epoch, val/loss and val/accuracy; none if it has no metrics.csv.

        Raises:
            ValueError: it lacks one of these columns.
        """
        rows = self.run.read_metrics()
        if rows and not {"epoch", "val/loss", "val/accuracy"} <= rows[0].keys():
            raise ValueError(f"{self.run.metrics_csv}: damaged, has no validation scores")
        return rows


def read_runs(typed: str, config_dirs: Sequence[Path] = ()) -> tuple[list[ScoredRun], list[str]]:
    """The runs to compare, and a warning for each that a pattern or a sweep contains without scores.

    Args:
        typed: paths and patterns, [A,B]; a directory stands for the run, or for all runs, in it.
        config_dirs: of the user's own config files.

    Raises:
        ValueError: nothing matches, a run is listed twice or has no scores, or there are fewer than two or too many.
    """
    found = find_folders(split_list(typed), "runs")
    if len(found) > len(ascii_uppercase):
        raise ValueError(f"runs={typed}: {len(found)} runs; at most {len(ascii_uppercase)} can be compared")
    runs: list[ScoredRun] = []
    warnings = []
    for folder, is_named in found.items():
        try:
            runs.append(_read(ascii_uppercase[len(runs)], folder, config_dirs))
        except (ValueError, OSError) as error:
            if is_named:
                raise
            warnings.append(f"left out: {error}")
    if len(runs) < 2:
        raise ValueError("; ".join([f"runs={typed}: at least two runs with scores are needed", *warnings]))
    return runs, warnings


def _read(name: str, folder: Path, config_dirs: Sequence[Path]) -> ScoredRun:
    run = Run.existing(folder, "runs")
    summary = read_scored_summary(run, "runs")
    plain = OmegaConf.to_container(run.read_config(config_dirs=config_dirs), resolve=True)
    assert isinstance(plain, dict)
    plain.pop("resume", None)
    return ScoredRun(name, run, summary, dict(_leaves(plain)))


def _leaves(node: Mapping[Any, Any], parent: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{parent}{name}.")
        else:
            yield f"{parent}{name}", to_override(value)
