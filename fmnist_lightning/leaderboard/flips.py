"""Flip averaging: what the leaderboard measures of a run in addition to its summary."""

from omegaconf import DictConfig

from fmnist_lightning.inference.load import load_runs
from fmnist_lightning.inference.run_data import load_data
from fmnist_lightning.runs.run import Run


def measure_flips(run: Run, cfg: DictConfig) -> dict[str, float]:
    """{val, test}: accuracy of the best checkpoint, its probabilities averaged over each image and its mirror image."""
    predictor = load_runs([run.folder], tta=True, accelerator=cfg.trainer.accelerator)
    data = load_data(run, cfg)
    accuracy = {}
    for stage in ("val", "test"):
        predicted = predictor.predict(data.images[stage]).argmax(dim=1)
        accuracy[stage] = round((predicted == data.labels[stage]).double().mean().item(), 6)
    return accuracy
