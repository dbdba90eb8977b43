"""Flip averaging: what the leaderboard measures of a run in addition to its summary."""

from typing import Any

from omegaconf import DictConfig

from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.scoring import score_run


def measure_flips(run: Run, cfg: DictConfig) -> dict[str, dict[str, float]]:
    """{val, test}: {loss, accuracy} of the best checkpoint with flip averaging, as `evaluate tta=true` prints them."""
    accelerator = cfg.trainer.accelerator
    scores: dict[str, Any] = score_run(run, cfg, None, accelerator, tta=True, show_stage=lambda stage: None)
    return {stage: dict(scores["flip_averaging"][stage]) for stage in ("val", "test")}
