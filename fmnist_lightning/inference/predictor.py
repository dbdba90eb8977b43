"""From images to probabilities, features and outlier flags, with the model of one run."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.inference.calibration import Calibration
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.inference.outliers import Classified, flag, outlier_scores
from fmnist_lightning.models import Classifier

BATCH_SIZE = 512
UNCALIBRATED = Calibration()


class Predictor:
    """The model of a run's best checkpoint, on one device. Threads may share it.

    Args:
        model: the trained model.
        epoch: the checkpoint's epoch, counted from 1.
        device: the device that computes.
        precision: as trainer.precision, auto excluded.
        calibration: of the model; by default probabilities are not calibrated and only blank images are flagged.
    """

    class_names = CLASS_NAMES

    def __init__(
        self,
        model: Classifier,
        epoch: int,
        device: torch.device | str,
        precision: str,
        calibration: Calibration = UNCALIBRATED,
    ) -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)
        self.epoch, self.precision, self.calibration = epoch, precision, calibration
        self.lock = threading.Lock()  # held while the model computes, as `features` adds hooks to it

    def predict(self, images: Tensor | Sequence[Any]) -> Tensor:
        """Calibrated probabilities (N, 10) float32 of images as `inputs.to_images` takes them."""
        return self.calibrated(self.logits(to_images(images))).softmax(dim=1)

    def classify(self, images: Tensor | Sequence[Any]) -> Classified:
        """Calibrated probabilities and outlier flags, in one forward pass; images as for `predict`."""
        images = to_images(images)
        logits = self.calibrated(self.logits(images))
        return flag(images, logits.softmax(dim=1), outlier_scores(logits), self.calibration.outlier_threshold)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Logits (N, 10) divided by the temperature."""
        return logits / self.calibration.temperature

    def features(self, images: Tensor | Sequence[Any]) -> Tensor:
        """The input (N, F) float32 of the last linear layer; images as for `predict`. F is 0 without such a layer."""
        images = to_images(images)
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.Linear)]
        if not layers:
            return torch.empty(len(images), 0)
        last: list[Tensor] = []  # the input of the layer that is called last, which need not be listed last
        features = []

        def keep(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            last[:] = inputs[:1]

        with self.lock, ExitStack() as hooks:
            for layer in layers:
                hooks.enter_context(layer.register_forward_pre_hook(keep))
            self._logits(images, lambda: features.append(last[0].flatten(1).float().cpu()))
        return torch.cat(features)

    def logits(self, images: Tensor, after_batch: Callable[[], None] | None = None) -> Tensor:
        """Logits (N, 10) float32, on the CPU, of images (N, 28, 28) uint8; `after_batch` may raise to stop."""
        with self.lock:
            return self._logits(images, after_batch)

    def autocast(self) -> torch.autocast:
        """The context in which the model computes in this precision."""
        # as Lightning does: no float16 on a CPU
        half = torch.float16 if self.precision == "16-mixed" and self.device.type != "cpu" else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.precision.endswith("-mixed"))

    @torch.inference_mode()
    def _logits(self, images: Tensor, after_batch: Callable[[], None] | None) -> Tensor:
        if images.dtype != torch.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(f"images: {tuple(images.shape)} {images.dtype}; must be (N, 28, 28) uint8")
        batches = []
        with self.autocast():
            for batch in images.split(BATCH_SIZE):
                batches.append(self.model(batch.to(self.device)).float().cpu())
                if after_batch is not None:
                    after_batch()
        return torch.cat(batches)
