"""Loads the images and labels of a run and splits them into train, val and test."""

import functools
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fmnist_lightning.data import archives, synthetic
from fmnist_lightning.data.split import nested_subset, stratified_split
from fmnist_lightning.data.transforms import mean_and_std

SYNTHETIC = "synthetic images, NOT Fashion-MNIST"


@dataclass(frozen=True)
class Source:
    """Where the images come from: arguments of FashionMNISTData."""

    name: str
    root: Path
    mirrors: tuple[str, ...]
    num_train: int
    num_test: int
    environment: tuple[str | None, ...] = field(  # part of the cache key: it decides which files are found
        default_factory=lambda: (str(Path.cwd()), os.environ.get(archives.MIRROR_VARIABLE))
    )


@dataclass(frozen=True)
class SplitDataset:
    """Images (N, 28, 28) uint8 and labels (N,) int64 of {train, val, test}."""

    images: dict[str, Tensor]
    labels: dict[str, Tensor]
    mean: float  # of the training split's pixels, scaled to [0, 1]
    std: float
    dataset_info: dict[str, Any]  # entries of a summary


@functools.lru_cache(maxsize=1)  # for the next job of a sweep
def load_split(source: Source, val_fraction: float, train_fraction: float, split_seed: int) -> SplitDataset:
    """Loads (and downloads or draws) and splits the images; arguments as those of FashionMNISTData."""
    name, (train_images, train_labels, test_images, test_labels) = _read(source)
    train, val = stratified_split(train_labels, val_fraction, split_seed)
    train = train[nested_subset(train_labels[train], train_fraction, split_seed)]
    images = {"train": train_images[train], "val": train_images[val], "test": test_images}
    labels = {"train": train_labels[train], "val": train_labels[val], "test": test_labels}
    mean, std = mean_and_std(images["train"])
    dataset_info = {
        "data": name,
        "data_note": SYNTHETIC if name == "synthetic" else None,
        "data_sha256": _sha256(train_images, train_labels, test_images, test_labels),
        "split": {stage: len(members) for stage, members in labels.items()},
        "split_sha256": _sha256(train, val),
        "val_sha256": _sha256(val),  # equal for every train_fraction, so such runs are comparable
    }
    return SplitDataset(images, labels, mean, std, dataset_info)


def _read(source: Source) -> tuple[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
    try:
        if source.name != "synthetic":
            try:
                return "fashion_mnist", archives.load(source.root, list(source.mirrors))
            except archives.UnreachableError as error:
                if source.name != "auto":
                    raise
                print(f"\n*** {error}\n*** TRAINING ON {SYNTHETIC.upper()} INSTEAD ***\n", flush=True)
        return "synthetic", synthetic.load(source.root, source.num_train, source.num_test)
    except archives.UnreachableError:
        raise
    except OSError as error:
        message = f"data.root={source.root}: {error.strerror or error}"
        raise OSError(error.errno, message, error.filename) from error


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
