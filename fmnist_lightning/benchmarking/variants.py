"""What the benchmark compares: this project, the conventional way with Lightning, and a bare loop of PyTorch.

All of them train the same function of the same images at the same batch size. An arm offers its input alone (one
pass over the training batches, ready for the model), its training step alone, and epochs of training and validation.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

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

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.models.classifier import NUM_CLASSES, Batch
from fmnist_lightning.models.layers import Dropout
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer, make_trainer
from fmnist_lightning.training.fit import fit

EachEpoch = Callable[[], AbstractContextManager[Any]]  # entered at the start of an epoch, left at its end


class Paced(pl.Callback):
    """Enters and leaves a context around each epoch, validation and checkpoints included."""

    def __init__(self, each_epoch: EachEpoch) -> None:
        self.each_epoch = each_epoch
        self.current: AbstractContextManager[Any] = nullcontext()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the epoch before, with all that was done after it, and starts this one."""
        self.current.__exit__(None, None, None)
        self.current = self.each_epoch()
        self.current.__enter__()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the last epoch."""
        self.current.__exit__(None, None, None)


class Project:
    """This project, as `python -m fmnist_lightning` trains.

    Args:
        cfg: a composed configuration.
        data: set up.
        precision: as trainer.precision, without "auto".
        device: that trains.
        folder: for what the training writes.
    """

    def __init__(
        self, cfg: DictConfig, data: FashionMNISTData, precision: str, device: torch.device, folder: Path
    ) -> None:
        self.cfg, self.data, self.precision, self.device, self.folder = cfg, data, precision, device, folder
        self.model = self._model().to(device)
        self.optimizer: torch.optim.Optimizer = self.model.configure_optimizers()

    def _model(self) -> Classifier:
        model = build_model(self.cfg)
        model.normalize.set_statistics(self.data.mean, self.data.std)
        return model

    def batches(self, stage: str = "train") -> Iterator[Batch]:
        """Normalised batches on the device."""
        loader = self.data.train_dataloader() if stage == "train" else self.data.val_dataloader()
        for batch in loader:
            images, labels = self.data.transfer_batch_to_device(batch, self.device, 0)
            yield self.model.normalize(images), labels

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and logits of a batch."""
        images, labels = batch
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            logits = self.model.network(images).float()
        return F.cross_entropy(logits, labels), logits

    def step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One training step; the loss and the logits of its batch."""
        loss, logits = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss, logits

    def epochs(self, num: int, each_epoch: EachEpoch) -> None:
        """Trains and validates for `num` epochs, as a run does."""
        trainer = build_trainer(self.cfg, Run(self.folder), self.precision)
        trainer.fit_loop.max_epochs = num
        trainer.callbacks.append(Paced(each_epoch))  # type: ignore[attr-defined]
        fit(trainer, self.model, self.data)


class Compiled(Project):
    """This project with its network compiled into CUDA graphs."""

    def _model(self) -> Classifier:
        model = super()._model()
        model.network.compile(mode="reduce-overhead")
        return model


class Bare(Project):
    """The shortest loop of PyTorch over the same batches with the same model: the difference is what Lightning adds."""

    def epochs(self, num: int, each_epoch: EachEpoch) -> None:
        """Trains and validates for `num` epochs."""
        for _ in range(num):
            with each_epoch():
                self.model.train()
                sums = torch.zeros(2, device=self.device)  # loss, right predictions: what the study shows by epoch
                for batch in self.batches():
                    loss, logits = self.step(batch)
                    sums += torch.stack([loss.detach(), (logits.detach().argmax(1) == batch[1]).sum()])
                sums.tolist()
                self.model.eval()
                sums.zero_()
                with torch.no_grad():
                    for batch in self.batches("val"):
                        loss, logits = self.loss(batch)
                        sums += torch.stack([loss, (logits.argmax(1) == batch[1]).sum()])
                sums.tolist()


class Conventional(Project):
    """What most examples do: per-image transforms in a DataLoader, metrics, log and progress bar at every step."""

    def __init__(
        self, cfg: DictConfig, data: FashionMNISTData, precision: str, device: torch.device, folder: Path
    ) -> None:
        super().__init__(cfg, data, "32-true", device, folder)
        self.plain = ConventionalModule(conventional_network(self.model.network), cfg.optimizer.lr)
        self.model.network = self.plain.network.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg.optimizer.lr)
        write_idx_files(folder, data)
        to_normalised = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
        images = FashionMNIST(folder, transform=to_normalised)
        parts = random_split(images, [len(data.labels["train"]), len(data.labels["val"])])
        self.train_loader, self.val_loader = (
            DataLoader(part, batch_size=data.batch_size, shuffle=shuffle)
            for part, shuffle in zip(parts, (True, False), strict=True)
        )

    def batches(self, stage: str = "train") -> Iterator[Batch]:
        """Batches on the device."""
        for images, labels in self.train_loader if stage == "train" else self.val_loader:
            yield images.to(self.device), labels.to(self.device)

    def epochs(self, num: int, each_epoch: EachEpoch) -> None:
        """Trains and validates for `num` epochs, with Lightning's defaults."""
        trainer = make_trainer(
            accelerator=self.device.type,
            devices=1,
            max_epochs=num,
            callbacks=[Paced(each_epoch), ModelCheckpoint(monitor="val/loss")],
            logger=CSVLogger(self.folder),
            default_root_dir=self.folder,
            num_sanity_val_steps=0,
        )
        trainer.fit(self.plain, self.train_loader, self.val_loader)


class ConventionalModule(pl.LightningModule):
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


def conventional_network(network: nn.Module) -> nn.Sequential:
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
