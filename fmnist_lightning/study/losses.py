"""Training and validation loss measured in the same way: without dropout, with the weights of a checkpoint.

The training loss in metrics.csv is a mean over an epoch, with changing weights and with dropout, which alone increases
it: it does not show overfitting.
"""

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import DictConfig

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.load import add_mean_and_std, load_best
from fmnist_lightning.models import Classifier
from fmnist_lightning.runs.checkpoints import load_weights, read_checkpoint
from fmnist_lightning.runs.run import Run

BATCH_SIZE = 1000


def measure_losses(run: Run, cfg: DictConfig) -> dict[str, dict[str, float]]:
    """Measures a completed run.

    Args:
        run: with both of its checkpoints.
        cfg: its configuration.

    Returns:
        Mean cross-entropy in nats, {best: {train, val}, last: {train, val}}: of the best and of the last epoch, over
        all training and all validation images.
    """
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.setup()
    model = load_best(run, cfg).model
    last = read_checkpoint(run.last_checkpoint)
    losses = {"best": {stage: _mean_loss(model, data, stage) for stage in ("train", "val")}}
    load_weights(model, add_mean_and_std(last, model), run.last_checkpoint)
    return losses | {"last": {stage: _mean_loss(model, data, stage) for stage in ("train", "val")}}


@torch.inference_mode()
def _mean_loss(model: Classifier, data: FashionMNISTData, stage: str) -> float:
    model.eval()
    total = 0.0
    for images, labels in zip(*(t[stage].split(BATCH_SIZE) for t in (data.images, data.labels)), strict=True):
        total += F.cross_entropy(model(images), labels, reduction="sum").item()
    return round(total / len(data.labels[stage]), 6)
