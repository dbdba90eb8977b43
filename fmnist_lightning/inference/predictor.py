"""From images to probabilities, features and outlier flags, with the model of one run."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fmnist_lightning.data.archives import CLASS_NAMES
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.models import Classifier

BATCH_SIZE = 512


class Outputs(NamedTuple):
    """What one forward pass computes, float32 on the CPU."""

    logits: Tensor  # (N, 10)
    features: Tensor  # (N, F), the input of the last linear layer, flattened; F is 0 in a model without one


class Classified(NamedTuple):
    """Predictions, and which images do not resemble the training images."""

    probabilities: Tensor  # (N, 10) float32, calibrated
    outlier_scores: Tensor  # (N,) float32; the larger, the less an image resembles the training images
    is_outlier: Tensor  # (N,) bool
    reasons: list[str]  # why an image is flagged; empty if it is not


class Predictor:
    """The model of a run's best checkpoint, on one device. Threads may share it.

    Args:
        model: the trained model.
        epoch: the checkpoint's epoch, counted from 1.
        device: the device that computes.
        precision: as trainer.precision, auto excluded.
    """

    class_names = CLASS_NAMES

    def __init__(self, model: Classifier, epoch: int, device: torch.device | str, precision: str) -> None:
        self.model, self.device = model.to(device).eval(), torch.device(device)
        self.epoch, self.precision = epoch, precision
        self.temperature = 1.0
        self.lock = threading.Lock()  # of the model, whose layers' inputs are kept
        self._features: list[Tensor] = []  # inputs of the linear layers, in the order of their calls
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_pre_hook(self._keep_input)

    def _keep_input(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._features[:] = inputs[:1]

    def predict(self, images: Tensor | Sequence[Any]) -> Tensor:
        """Calibrated probabilities (N, 10) float32 of images as `inputs.to_images` takes them."""
        return self.probabilities(self.logits(to_images(images)))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities (N, 10) of logits: softmax after division by the temperature."""
        return (logits / self.temperature).softmax(dim=1)

    def classify(self, images: Tensor | Sequence[Any]) -> Classified:
        """Calibrated probabilities and outlier flags, in one forward pass; images as for `inputs.to_images`."""
        logits, _ = self.outputs(to_images(images))
        probabilities = self.probabilities(logits)
        scores = 1 - probabilities.amax(dim=1)
        flags = scores > 0.5
        reasons = ["low confidence" if flag else "" for flag in flags.tolist()]
        return Classified(probabilities, scores, flags, reasons)

    def features(self, images: Tensor | Sequence[Any]) -> Tensor:
        """The input (N, F) float32 of the last linear layer, of images as `inputs.to_images` takes them."""
        return self.outputs(to_images(images)).features

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, 10) float32, on the CPU, of images (N, 28, 28) uint8; not calibrated."""
        return self.outputs(images).logits

    @torch.inference_mode()
    def outputs(self, images: Tensor, after_batch: Callable[[], None] | None = None) -> Outputs:
        """Logits and features of images (N, 28, 28) uint8; `after_batch` may raise to stop."""
        if images.dtype != torch.uint8 or images.shape[1:] != (28, 28):
            raise ValueError(f"images: {tuple(images.shape)} {images.dtype}; must be (N, 28, 28) uint8")
        # as Lightning does: no float16 on a CPU
        half = torch.float16 if self.precision == "16-mixed" and self.device.type != "cpu" else torch.bfloat16
        logits, features = [], []
        with self.lock, torch.autocast(self.device.type, half, enabled=self.precision.endswith("-mixed")):
            for batch in images.split(BATCH_SIZE):
                logits.append(self.model(batch.to(self.device)).float().cpu())
                last = self._features[0] if self._features else logits[-1][:, :0]
                features.append(last.flatten(1).float().cpu())
                if after_batch is not None:
                    after_batch()
        return Outputs(torch.cat(logits), torch.cat(features))
