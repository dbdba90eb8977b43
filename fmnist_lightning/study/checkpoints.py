"""Loss and accuracy measured in the same way for all images: without dropout, with the weights of a checkpoint.

The training loss in metrics.csv is a mean over an epoch, with changing weights and with dropout, which alone increases
it: it does not show overfitting. The scores on the test images choose nothing; they compare the epoch that early
stopping selects with the last one, without the advantage that the selected epoch has on the validation images.
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
STAGES = ("train", "val", "test")


def score_checkpoints(run: Run, cfg: DictConfig) -> dict[str, dict[str, float]]:
    """Measures a completed run.

    Args:
        run: with both of its checkpoints.
        cfg: its configuration.

    Returns:
        {best: {train/loss, train/accuracy, val/loss, ...}, last: {...}}: of the best and of the last epoch, over all
        images of a stage; losses are mean cross-entropies in nats.
    """
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.setup()
    model = load_best(run, cfg).model
    last = read_checkpoint(run.last_checkpoint)
    scores = {"best": _score(model, data)}
    load_weights(model, add_mean_and_std(last, model), run.last_checkpoint)
    return scores | {"last": _score(model, data)}


@torch.inference_mode()
def _score(model: Classifier, data: FashionMNISTData) -> dict[str, float]:
    model.eval()
    scores: dict[str, float] = {}
    for stage in STAGES:
        loss, correct, num = 0.0, 0, len(data.labels[stage])
        for images, labels in zip(*(t[stage].split(BATCH_SIZE) for t in (data.images, data.labels)), strict=True):
            logits = model(images)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            correct += int((logits.argmax(dim=1) == labels).sum())
        scores |= {f"{stage}/loss": round(loss / num, 6), f"{stage}/accuracy": round(correct / num, 6)}
    return scores
