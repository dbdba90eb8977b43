"""Lightning with its defaults, as most examples use it: what the benchmark compares this project with."""

from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import FashionMNIST

from fmnist_lightning.benchmarking.project import Project
from fmnist_lightning.benchmarking.timing import EpochTimer
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models.classifier import NUM_CLASSES, Batch
from fmnist_lightning.models.layers import Dropout
from fmnist_lightning.training.build import trainer_without_environment


class LightningDefault(Project):
    """What most examples do: transforms of each image in a DataLoader; metrics, log and progress bar at every step."""

    def __init__(
        self, cfg: DictConfig, data: FashionMNISTData, precision: str, device: torch.device, folder: Path
    ) -> None:
        super().__init__(cfg, data, "32-true", device, folder)
        self.plain = PlainModule(standard_network(self.model.network), cfg.optimizer.lr)
        self.model.network = self.plain.network.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg.optimizer.lr)
        write_idx_files(folder, data)
        to_normalized = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
        images = FashionMNIST(folder, transform=to_normalized)
        parts = random_split(images, [len(data.labels["train"]), len(data.labels["val"])])
        self.train_loader, self.val_loader = (
            DataLoader(part, batch_size=data.batch_size, shuffle=shuffle)
            for part, shuffle in zip(parts, (True, False), strict=True)
        )

    def batches(self, stage: str = "train") -> Iterator[Batch]:
        """Batches on the device."""
        for images, labels in self.train_loader if stage == "train" else self.val_loader:
            yield images.to(self.device), labels.to(self.device)

    def time_epochs(self, num: int) -> list[float]:
        """Trains and validates for `num` epochs with Lightning's defaults; the seconds of each."""
        timer = EpochTimer()
        trainer = trainer_without_environment(
            accelerator=self.device.type,
            devices=1,
            max_epochs=num,
            callbacks=[timer, ModelCheckpoint(monitor="val/loss")],
            logger=CSVLogger(self.folder),
            default_root_dir=self.folder,
            num_sanity_val_steps=0,
        )
        trainer.fit(self.plain, self.train_loader, self.val_loader)
        return timer.seconds


class PlainModule(pl.LightningModule):
    """A module as in Lightning's own examples."""

    def __init__(self, network: nn.Module, lr: float) -> None:
        super().__init__()
        self.network, self.lr = network, lr
        self.train_accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")
        self.val_accuracy = MulticlassAccuracy(NUM_CLASSES, average="micro")

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss and accuracy of the batch, logged."""
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.train_accuracy(logits, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", self.train_accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and accuracy of the batch, logged."""
        images, labels = batch
        logits = self.network(images)
        self.val_accuracy(logits, labels)
        self.log("val/loss", F.cross_entropy(logits, labels), prog_bar=True)
        self.log("val/accuracy", self.val_accuracy, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The study's."""
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def standard_network(network: nn.Module) -> nn.Sequential:
    """The same function from torch's own layers in the study's order: ReLU, then pooling, then torch's dropout."""
    layers: list[nn.Module] = []
    for layer in network.children():
        layers.append(nn.Dropout(layer.p) if isinstance(layer, Dropout) else layer)
        if len(layers) > 1 and isinstance(layers[-2], nn.MaxPool2d) and isinstance(layer, nn.ReLU):
            layers[-2:] = reversed(layers[-2:])
    return nn.Sequential(*layers).to(memory_format=torch.contiguous_format)


def write_idx_files(root: Path, data: FashionMNISTData) -> None:
    """Writes training and validation images where and as torchvision's FashionMNIST reads them."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for parts, name in ((data.images, "images-idx3"), (data.labels, "labels-idx1")):
        values = torch.cat([parts["train"], parts["val"]]).to(torch.uint8)
        header = bytes([0, 0, 8, values.dim()]) + np.asarray(values.shape, ">i4").tobytes()
        for split in ("train", "t10k"):  # torchvision asks for both
            (raw / f"{split}-{name}-ubyte").write_bytes(header + values.numpy().tobytes())
