"""Caches the synthetic images of garments.py, for tests and machines without a network."""

import io
import logging
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from fmnist_lightning.data.garments import Images, Labels, draw
from fmnist_lightning.runs.files import atomic_write

VERSION = 1  # of the drawings: increased by any change of a pixel, so that an older cache is not used
log = logging.getLogger(__name__)


def load(root: str | Path, num_train: int, num_test: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws the images once and caches them in `root/synthetic`; later calls read them from there.

    Returns:
        Training images (num_train, 28, 28) uint8, labels (num_train,) int64, test images and labels. The classes
        are those of Fashion-MNIST, equally many of each (up to the remainder).
    """
    path = cache_path(root, num_train, num_test)
    folder = path.parent
    drawn = _read(path, num_train, num_test)  # also if the directory is not writable
    if drawn is None:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            drawn = _read(path, num_train, num_test)  # another process may have drawn them
            if drawn is None:
                log.warning("generating %s synthetic images, once, in %s", f"{num_train + num_test:,}", folder)
                drawn = (*draw(num_train, seed=0), *draw(num_test, seed=1))
                content = io.BytesIO()
                np.savez(content, *drawn)
                atomic_write(path, content.getvalue())
    train_images, train_labels, test_images, test_labels = map(torch.from_numpy, drawn)
    return train_images, train_labels, test_images, test_labels


def cache_path(root: str | Path, num_train: int, num_test: int) -> Path:
    """The file that holds the images, once they are drawn."""
    return Path(root) / "synthetic" / f"garments-v{VERSION}-{num_train}-{num_test}-seed0.npz"


def _read(path: Path, num_train: int, num_test: int) -> tuple[Images, Labels, Images, Labels] | None:
    """The cached images; None if they must be drawn."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            train_images, train_labels, test_images, test_labels = (arrays[name] for name in arrays.files)
    except (zipfile.BadZipFile, ValueError, EOFError, zlib.error):
        log.warning("%s is damaged", path)
        return None
    shapes = [array.shape for array in (train_images, train_labels, test_images, test_labels)]
    if shapes != [(num_train, 28, 28), (num_train,), (num_test, 28, 28), (num_test,)]:
        log.warning("%s contains other images than its name says", path)
        return None
    return train_images, train_labels, test_images, test_labels
