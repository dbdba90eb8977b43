"""How images become batches: one uint8 tensor in the device's memory, one gather per batch, normalised there.

Decides the split, the normalisation and the augmentation. No worker processes: a gather of 512 images takes
less time than handing them from one process to another.
"""

import copy
import hashlib
import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.data import archives, synthetic
from fmnist_lightning.data.batches import Batch, BatchIndices, BatchLoader

SYNTHETIC = "synthetic images, NOT Fashion-MNIST"
CROP_PADDING = 2  # pixels on each side before the random crop


class FashionMNISTData(pl.LightningDataModule):
    """Fashion-MNIST, or synthetic images in its place, split into train, val and test.

    Args:
        source: `fashion_mnist`, `synthetic`, or `auto`: the synthetic images where the dataset is out of reach.
        root: folder of the archives, and of what is fetched or drawn.
        mirrors: folders or URLs that hold the archives, tried after the environment's FASHION_MNIST_MIRROR.
        batch_size: images per step and device.
        val_fraction: share of the training images, the same of each class, that validates.
        train_fraction: share of the training split that trains, the same of each class.
        split_seed: seed of the split; another one than the run's.
        augment: random horizontal flip and 2-pixel crop of the training batches.
        num_train: number of drawn training images, before the split.
        num_test: number of drawn test images.

    After `setup`, `images` and `labels` hold {train, val, test}, and `facts` what a summary says of the data.
    """

    class_names = archives.CLASS_NAMES
    _latest: tuple[Any, dict[str, Any]] | None = None  # what was set up last in this process, for a sweep's next job

    def __init__(
        self,
        source: str = "fashion_mnist",
        root: str = "data",
        mirrors: list[str] | tuple[str, ...] = (),
        batch_size: int = 512,
        val_fraction: float = 0.2,
        train_fraction: float = 1.0,
        split_seed: int = 0,
        augment: bool = False,
        num_train: int = 60_000,
        num_test: int = 10_000,
    ) -> None:
        super().__init__()
        validate_values(data__source=source, data__root=root, data__mirrors=mirrors, data__batch_size=batch_size)
        validate_values(data__val_fraction=val_fraction, data__split_seed=split_seed, data__augment=augment)
        validate_values(data__train_fraction=train_fraction, data__num_train=num_train, data__num_test=num_test)
        self.source, self.root, self.mirrors = source, Path(root).expanduser(), list(mirrors)
        self.batch_size, self.val_fraction, self.train_fraction = batch_size, val_fraction, train_fraction
        self.split_seed = split_seed
        self.augment, self.num_train, self.num_test = augment, num_train, num_test
        self.seed = 0  # each epoch's order of the training images is a function of (seed, epoch) alone; a run sets it
        self.images: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.facts: dict[str, Any] = {}
        self.mean = self.std = 0.0

    def setup(self, stage: str | None = None) -> None:
        """Reads (fetches, draws) the images once and splits them; each later call finds them in memory.

        Raises:
            ValueError: the processes that train together have not the same images in the same split.
        """
        if self.images:
            self._compare()
            return
        where = (self.source, self.root.absolute(), self.mirrors, os.environ.get(archives.MIRROR_VARIABLE))
        key = (where, self.num_train, self.num_test, self.val_fraction, self.train_fraction, self.split_seed)
        if FashionMNISTData._latest is None or FashionMNISTData._latest[0] != key:
            FashionMNISTData._latest = (key, self._split())
        # the tensors are shared, the dictionaries are not
        vars(self).update({name: copy.copy(value) for name, value in FashionMNISTData._latest[1].items()})

    def _split(self) -> dict[str, Any]:
        """Attributes that the images decide: images, labels, mean, std, facts."""
        name, (train_images, train_labels, test_images, test_labels) = self._read()
        train, val = stratified_split(train_labels, self.val_fraction, self.split_seed)
        train = train[nested_subset(train_labels[train], self.train_fraction, self.split_seed)]
        images = {"train": train_images[train], "val": train_images[val], "test": test_images}
        labels = {"train": train_labels[train], "val": train_labels[val], "test": test_labels}
        mean, std = mean_and_std(images["train"])
        facts = {
            "data": name,
            "data_note": SYNTHETIC if name == "synthetic" else None,
            "data_sha256": _sha256(train_images, train_labels, test_images, test_labels),
            "split": {stage: len(members) for stage, members in labels.items()},
            "split_sha256": _sha256(train, val),
            "val_sha256": _sha256(val),  # equal in runs on shares of the same training split, which compare
        }
        return {"images": images, "labels": labels, "mean": mean, "std": std, "facts": facts}

    def _compare(self) -> None:
        """Once the processes are connected: each takes its share of what all must have alike."""
        if self.trainer is None:
            return
        strategy = self.trainer.strategy
        mine = (self.facts, self.seed, self.batch_size, str(self.trainer.precision))
        if not strategy.reduce_boolean_decision(strategy.broadcast(mine) == mine):
            raise ValueError(
                f"data.source={self.source}: the processes of this run found different images, share them out or "
                "compute differently; give each machine the same files and overrides, trainer.precision among them"
            )

    def _read(self) -> tuple[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
        if self.source != "synthetic":
            try:
                return "fashion_mnist", archives.load(self.root, self.mirrors)
            except archives.UnreachableError as error:
                if self.source != "auto":
                    raise
                print(f"\n*** {error}\n*** TRAINING ON {SYNTHETIC.upper()} INSTEAD ***\n", flush=True)
            except OSError as error:
                raise self._unusable(error) from error
        try:
            return "synthetic", synthetic.load(self.root, self.num_train, self.num_test)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> OSError:
        return OSError(error.errno, f"data.root={self.root}: {error.strerror or error}", error.filename)

    def train_dataloader(self) -> BatchLoader:
        """Batches in an order that changes with the epoch; on several devices each takes its share."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        """Batches in the split's order; on several devices each takes its share."""
        return self._loader("val")

    def test_dataloader(self) -> BatchLoader:
        """Batches in the official order."""
        return self._loader("test")

    def _loader(self, stage: str, shuffle: bool = False) -> BatchLoader:
        if self.trainer and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            shuffle = False  # the same batches in every epoch
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        # on a GPU all images, 47 MB, and an epoch's order go there once: no step copies, none waits
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        images = TensorDataset(self.images[stage].to(device), self.labels[stage].to(device))
        order = BatchIndices(len(images), self.batch_size, self.seed if shuffle else None, rank, world, device)
        return BatchLoader(images, sampler=order, batch_size=None)  # type: ignore[arg-type] # a tuple of two

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves the two tensors, without Lightning's search through nested collections."""
        images, labels = batch
        return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turns uint8 images (N, 28, 28) into normalised float32 images (N, 1, 28, 28), on the model's device."""
        images, labels = batch
        images = images.unsqueeze(1)
        if self.augment and self.trainer is not None and self.trainer.training:
            images = augment(images)
        return images.float().sub_(255 * self.mean).div_(255 * self.std), labels

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to treat other images as this run's were: pixel mean and deviation in [0, 1]."""
        return {"mean": self.mean, "std": self.std, "split_sha256": self.facts["split_sha256"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Compares a checkpoint's images with these.

        Raises:
            ValueError: it was trained on others.
        """
        if state_dict != self.state_dict():
            raise ValueError(
                f"data.source={self.source}: the checkpoint was trained on other images or another split; "
                "set data.root to where its images are"
            )


def stratified_split(labels: Tensor, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits so that each class gives the same share to validation.

    Args:
        labels: (N,) int64.
        val_fraction: share of each class, rounded to whole images, at least one on either side.
        seed: of the choice; the same on every platform.

    Returns:
        Ascending indices of the training and of the validation images.

    Raises:
        ValueError: a class has fewer than two images.
    """
    generator = torch.Generator().manual_seed(seed)
    val = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        if len(members) < 2:
            raise ValueError(f"class {int(label)} has {len(members)} image; a split needs two of each")
        num_val = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        val[members[torch.randperm(len(members), generator=generator)[:num_val]]] = True
    return (~val).nonzero().squeeze(1), val.nonzero().squeeze(1)


def nested_subset(labels: Tensor, fraction: float, seed: int) -> Tensor:
    """Chooses a share of each class; with one seed, a smaller share is part of every larger one.

    Args:
        labels: (N,) int64.
        fraction: share of each class, rounded to whole images, at least one.
        seed: of the choice; the same on every platform.

    Returns:
        Ascending indices; all of them where fraction is 1.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        order = torch.randperm(len(members), generator=generator)
        chosen[members[order[: max(round(len(members) * fraction), 1)]]] = True
    return chosen.nonzero().squeeze(1)


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of uint8 pixels, scaled to [0, 1]; exact, from counts of the 256 values."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts @ values) / counts.sum()
    std = ((counts @ (values - mean) ** 2) / counts.sum()).sqrt()
    return mean.item(), std.item()


def augment(images: Tensor) -> Tensor:
    """Flips half of the images (N, 1, 28, 28) and crops each at random after padding by 2 black pixels."""
    num, _, height, width = images.shape
    flip = torch.rand(num, 1, 1, 1, device=images.device) < 0.5
    images = torch.where(flip, images.flip(-1), images)
    padded = torch.nn.functional.pad(images, [CROP_PADDING] * 4)
    top, left = torch.randint(2 * CROP_PADDING + 1, (2, num, 1, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device).view(1, -1, 1)  # (N, 28, 1)
    columns = left + torch.arange(width, device=images.device).view(1, 1, -1)  # (N, 1, 28)
    which = torch.arange(num, device=images.device).view(-1, 1, 1)
    return padded[which, 0, rows, columns].unsqueeze(1)


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
