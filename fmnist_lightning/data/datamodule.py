"""How images become batches: one uint8 tensor in the device's memory, one gather per batch, augmented there.

The model's first layer normalises them. No worker processes: a gather of 512 images takes less time than handing them
from one process to another.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from fmnist_lightning.config.schema import validate_values
from fmnist_lightning.data import archives, synthetic
from fmnist_lightning.data.batches import Batch, BatchIndices, BatchLoader, InMemoryImages
from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.dataset import Source, load_split
from fmnist_lightning.data.photo_augmentation import augment_for_photos
from fmnist_lightning.data.transforms import crop, erase, flip


class FashionMNISTData(pl.LightningDataModule):
    """Fashion-MNIST, or synthetic images in its place, split into train, val and test.

    The arguments are described in conf/data/fashion_mnist.yaml and synthetic.yaml.

    After `setup`, `images` (N, 28, 28) uint8 and `labels` (N,) hold {train, val, test}; `mean` and `std` are those of
    the training split's pixels, scaled to [0, 1]; `dataset_info` holds the entries of a summary.
    """

    class_names = CLASS_NAMES

    def __init__(
        self,
        source: str = "fashion_mnist",
        root: str = "data",
        mirrors: list[str] | tuple[str, ...] = (),
        batch_size: int = 512,
        val_fraction: float = 0.2,
        train_fraction: float = 1.0,
        split_seed: int = 0,
        augment: bool | str | Sequence[str] = False,
        crop_padding: int = 2,
        erase_probability: float = 0.5,
        erase_area: Sequence[float] = (0.02, 0.2),
        num_train: int = 60_000,
        num_test: int = 10_000,
    ) -> None:
        super().__init__()
        validate_values(data__source=source, data__root=root, data__mirrors=mirrors, data__batch_size=batch_size)
        validate_values(data__val_fraction=val_fraction, data__split_seed=split_seed, data__augment=augment)
        validate_values(data__train_fraction=train_fraction, data__num_train=num_train, data__num_test=num_test)
        validate_values(data__crop_padding=crop_padding, data__erase_probability=erase_probability)
        validate_values(data__erase_area=erase_area)
        self.source, self.root, self.mirrors = source, Path(root).expanduser(), list(mirrors)
        self.batch_size, self.val_fraction, self.train_fraction = batch_size, val_fraction, train_fraction
        self.split_seed = split_seed
        self.augment, self.num_train, self.num_test = augment, num_train, num_test
        self.transforms: dict[str, Callable[[Tensor], Tensor]] = {
            "flip": flip,
            "crop": partial(crop, padding=crop_padding),
            "erase": partial(erase, probability=erase_probability, area=erase_area),
        }
        self.seed = 0  # of the order; set by a run to its own seed, which is no key of the group `data`
        self.images: dict[str, Tensor] = {}
        self.labels: dict[str, Tensor] = {}
        self.dataset_info: dict[str, Any] = {}
        self.mean = self.std = 0.0

    def is_on_disk(self) -> bool:
        """Whether `setup` neither downloads nor draws images; for a source that is not `auto`."""
        if self.source == "synthetic":
            return synthetic.cache_path(self.root, self.num_train, self.num_test).exists()
        return archives.is_on_disk(self.root)

    def setup(self, stage: str | None = None) -> None:
        """Loads and splits the images in the first call; compares the processes of a run in a later one.

        A run calls it before its trainer, which connects the processes. There is no `prepare_data`: a file lock lets
        one process per directory download.
        """
        if self.images:
            self._compare_processes()
            return
        source = Source(self.source, self.root, tuple(self.mirrors), self.num_train, self.num_test)
        loaded = load_split(source, self.val_fraction, self.train_fraction, self.split_seed)
        # the tensors are shared with the next job of a sweep, the dictionaries are not
        self.images, self.labels, self.dataset_info = (
            dict(each) for each in (loaded.images, loaded.labels, loaded.dataset_info)
        )
        self.mean, self.std = loaded.mean, loaded.std

    def _compare_processes(self) -> None:
        """Raises ValueError if the connected processes do not have the same images, split and settings."""
        if self.trainer is None:
            return
        strategy = self.trainer.strategy
        local = (self.dataset_info, self.seed, self.batch_size, str(self.trainer.precision))
        if not strategy.reduce_boolean_decision(strategy.broadcast(local) == local):
            raise ValueError(
                f"data.source={self.source}: the processes of this run found different images, share them out or "
                "compute differently; give each machine the same files and overrides, trainer.precision among them"
            )

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches, in another order in each epoch; each device has a part of them."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> BatchLoader:
        """Batches in the order of the split; each device has a part of them."""
        return self._loader("val")

    def test_dataloader(self) -> BatchLoader:
        """Batches in the official order."""
        return self._loader("test")

    def _loader(self, stage: str, shuffle: bool = False) -> BatchLoader:
        if self.trainer and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            shuffle = False  # the same batches in every epoch
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        # on a GPU all images (47 MB) and the order of an epoch are copied once: no step copies or waits
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        images = InMemoryImages(self.images[stage].to(device), self.labels[stage].to(device))
        order = BatchIndices(len(images), self.batch_size, self.seed if shuffle else None, rank, world, device)
        return BatchLoader(images, sampler=order, batch_size=None)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves the two tensors, without Lightning's search through nested collections."""
        images, labels = batch
        return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments training batches, on the model's device."""
        images, labels = batch
        if not self.augment or self.trainer is None or not self.trainer.training:
            return batch
        if self.augment == "photos":
            return augment_for_photos(images, labels)
        for name in ("flip", "crop") if self.augment is True else self.augment:
            images = self.transforms[name](images)
        return images, labels

    def state_dict(self) -> dict[str, Any]:
        """Which images and which split a checkpoint was trained on."""
        return {name: self.dataset_info[name] for name in ("data_sha256", "split_sha256")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raises ValueError if the checkpoint was trained on others."""
        self.check_images(state_dict, "checkpoint")

    def check_images(self, fingerprints: Mapping[str, Any], owner: str) -> None:
        """Raises ValueError if a checkpoint or a summary belongs to other images or another split.

        Args:
            fingerprints: those of `state_dict`, as stored.
            owner: what the message names, such as `run=DIR`.
        """
        for name, found in self.state_dict().items():
            if fingerprints.get(name) != found:
                raise ValueError(f"{owner}: these are not its images, {name} differs; set data.root=DIR")
