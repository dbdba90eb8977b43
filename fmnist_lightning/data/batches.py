"""A batch is one gather from a tensor in memory; the order of the images is a function of (seed, epoch)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

Batch = tuple[Tensor, Tensor]  # images (N, 28, 28) uint8, labels (N,) int64


class InMemoryImages(Dataset[Batch]):
    """Images (N, 28, 28) and labels (N,) in memory; a tensor of indices selects a batch."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> Batch:
        # copies whole images: a fortieth of the time of images[indices], which copies element by element
        return self.images.index_select(0, indices), self.labels.index_select(0, indices)


class BatchIndices(DistributedSampler[Any], SequentialSampler):
    """One tensor of indices per batch.

    Lightning replaces samplers that are not a DistributedSampler (on several devices) or not a SequentialSampler
    (with overfit_batches). It is both, so that Lightning keeps it.

    Args:
        num_images: number of images in all processes.
        batch_size: indices per batch; the last batch may be shorter. In shuffled order a single remaining image
            joins the batch before it: batch normalization cannot learn from one image.
        seed: seed of the order; None keeps the order of the images.
        rank: rank of this process; each image goes to one process.
        world_size: number of processes. In shuffled order up to world_size - 1 images are left out of an epoch, so
            that all processes take the same number of steps.
        device: device of the indices.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.num_images, self.batch_size, self.order_seed, self.device = num_images, batch_size, seed, device
        self.rank, self.world_size, self.epoch = rank, world_size, 0
        self.num_skipped = self.num_returned = 0  # batches to skip in the next epoch; batches of this epoch so far

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch, also of the first one after a resume."""
        self.epoch = epoch

    def _local_range(self) -> range:
        num_left_out = 0 if self.order_seed is None else self.num_images % self.world_size
        return range(self.rank, self.num_images - num_left_out, self.world_size)

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]
        if self.order_seed is None:
            order = torch.arange(self.num_images)
        else:
            # numpy mixes both numbers in full; torch's CPU generator keeps the low 32 bits of a seed
            order = torch.from_numpy(np.random.default_rng([self.order_seed, self.epoch]).permutation(self.num_images))
        local = self._local_range()
        order = order[local.start : local.stop : local.step].to(self.device)
        num_skipped, self.num_skipped = self.num_skipped, 0
        for i in range(num_skipped, len(self)):
            self.num_returned = i + 1
            stop = (i + 1) * self.batch_size if i + 1 < len(self) else len(order)
            yield order[i * self.batch_size : stop]

    def __len__(self) -> int:
        num_full, remainder = divmod(len(self._local_range()), self.batch_size)
        joins = self.order_seed is not None and remainder == 1 and num_full > 0
        return num_full + (remainder > 0 and not joins)


class BatchLoader(DataLoader[Batch]):
    """A loader whose position within an epoch is stored in checkpoints and restored."""

    def state_dict(self) -> dict[str, Any]:
        """The number of batches of the epoch so far."""
        assert isinstance(self.sampler, BatchIndices)
        return {"position": self.sampler.num_returned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues after those batches."""
        assert isinstance(self.sampler, BatchIndices)
        self.sampler.num_skipped = state_dict["position"]
