"""This project as the benchmark times it: as it trains, compiled, and in a plain PyTorch loop.

A variant offers its input alone (one pass over the training batches, ready for the network), its training step alone,
and epochs of training and validation. All train the same function on the same images with the same batch size.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from fmnist_lightning.benchmarking.timing import EpochTimer
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.models import Classifier
from fmnist_lightning.models.classifier import Batch
from fmnist_lightning.runs.run import Run
from fmnist_lightning.training.build import build_model, build_trainer
from fmnist_lightning.training.fit import fit


class Project:
    """This project, as `python -m fmnist_lightning` trains.

    Args:
        cfg: a composed configuration.
        data: set up.
        precision: as trainer.precision, auto excluded.
        device: that trains.
        folder: for the files of the run.
    """

    def __init__(
        self, cfg: DictConfig, data: FashionMNISTData, precision: str, device: torch.device, folder: Path
    ) -> None:
        self.cfg, self.data, self.precision, self.device, self.folder = cfg, data, precision, device, folder
        self.model = self._model().to(device)
        self.optimizer: torch.optim.Optimizer = self.model.configure_optimizers()

    def _model(self) -> Classifier:
        model = build_model(self.cfg)
        model.normalize.set_mean_and_std(self.data.mean, self.data.std)
        return model

    def batches(self, stage: str = "train") -> Iterator[Batch]:
        """Normalized batches on the device."""
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

    def time_epochs(self, num: int) -> list[float]:
        """Trains and validates for `num` epochs, as a run does; the seconds of each."""
        timer = EpochTimer()
        trainer = build_trainer(self.cfg, Run(self.folder), self.precision)
        trainer.fit_loop.max_epochs = num
        trainer.callbacks.append(timer)  # type: ignore[attr-defined]  # last: it times the other callbacks, too
        fit(trainer, self.model, self.data)
        return timer.seconds


class Compiled(Project):
    """This project with its network compiled into CUDA graphs."""

    def _model(self) -> Classifier:
        model = super()._model()
        model.network.compile(mode="reduce-overhead")
        return model


class PlainLoop(Project):
    """The shortest PyTorch loop over the same batches with the same model: the difference is Lightning's overhead."""

    def time_epochs(self, num: int) -> list[float]:
        """Trains and validates for `num` epochs; the seconds of each."""
        timer = EpochTimer()
        for _ in range(num):
            timer.start_epoch()
            self.model.train()
            totals = torch.zeros(2, device=self.device)  # loss, correct predictions: what a run logs per epoch
            for batch in self.batches():
                loss, logits = self.step(batch)
                totals += torch.stack([loss.detach(), (logits.detach().argmax(1) == batch[1]).sum()])
            totals.tolist()
            self.model.eval()
            totals.zero_()
            with torch.no_grad():
                for batch in self.batches("val"):
                    loss, logits = self.loss(batch)
                    totals += torch.stack([loss, (logits.argmax(1) == batch[1]).sum()])
            totals.tolist()
        timer.end()
        return timer.seconds
