"""The calibration of a run: stored in its summary at the end of training, else computed from its validation images."""

import torch
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.data.photo_augmentation import OUTLIERS, UNCHANGED, augment_for_photos
from fmnist_lightning.inference.calibration import Calibration, calibrate
from fmnist_lightning.inference.predictor import BATCH_SIZE, Predictor
from fmnist_lightning.inference.run_data import load_data, run_datamodule
from fmnist_lightning.runs.run import Run

SEED = 0  # of the augmentation
PASSING = 0.95  # fraction of the validation images that is not flagged
# of the augmented ones, which are harder than photos: the largest fraction whose sum with the fraction of synthetic
# outliers that are flagged is within 0.01 of its maximum (docs/scripts/outlier_scores.py); a rule that was stated after
# the rates on photos were seen
PASSING_LIKE_PHOTOS = 0.85


def read_calibration(run: Run, cfg: DictConfig, predictor: Predictor, root: str | None = None) -> Calibration:
    """The calibration of a run's best checkpoint; `root` replaces data.root.

    Raises:
        ValueError: it is not stored, as the run was not completed or by an earlier version, and the run's images are
            not on disk.
    """
    summary = run.read_summary()
    if "calibration" in summary:
        stored = summary["calibration"]
        return Calibration(stored["temperature"], stored["outlier_threshold"])
    if "data" not in summary or not run_datamodule(run, cfg, root).is_on_disk():
        raise ValueError(
            f"run={run.folder}: has no calibration of its probabilities, and the images to compute it are not on disk; "
            "set data.root=DIR"
        )
    data = load_data(run, cfg, root)
    return calibrate_predictor(predictor, data, predictor.logits(data.images["val"]))


def calibrate_predictor(predictor: Predictor, data: FashionMNISTData, logits: Tensor) -> Calibration:
    """The calibration from the logits (N, 10) of the validation images.

    The outlier threshold is that of the images for which the model is trained: with data.augment=photos, validation
    images that resemble prepared photos.
    """
    images, labels = data.images["val"], data.labels["val"]
    if data.augment != "photos":
        return calibrate(logits, labels, logits, PASSING)
    return calibrate(logits, labels, predictor.logits(like_photos(images, labels)[0]), PASSING_LIKE_PHOTOS)


def like_photos(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images (M, 28, 28) uint8 and labels (M,), M < N, augmented as in training: those that resemble prepared photos.

    Left out are those that training keeps unchanged or turns into outliers.
    """
    augmented, kept_labels = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        for batch, batch_labels in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
            photos, _ = augment_for_photos(batch, batch_labels)
            kept = slice(round(UNCHANGED * len(batch)), len(batch) - round(OUTLIERS * len(batch)))
            augmented.append(photos[kept])
            kept_labels.append(batch_labels[kept])
    return torch.cat(augmented), torch.cat(kept_labels)
