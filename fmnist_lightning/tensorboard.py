"""What TensorBoard shows of a finished run beside the scalars by epoch."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter


def log_run(
    writer: SummaryWriter,
    summary: Mapping[str, Any],
    predictions: tuple[Tensor, Tensor],
    report: Mapping[str, str | bytes],
    config: str,
    network: nn.Module,
    class_names: Sequence[str],
) -> None:
    """Writes test scores, pictures, a precision-recall curve per class, config and report as text, and the graph.

    Args:
        writer: of the run's folder.
        summary: the run's.
        predictions: labels (N,) and probabilities (N, 10) of the test images.
        report: the report's files by name.
        config: the composed configuration, as yaml.
        network: from images (N, 1, 28, 28) to logits.
        class_names: by label.
    """
    epoch = summary["best_epoch"]
    for name, value in (
        ("test/loss", summary["test"]["loss"]),
        ("test/accuracy", summary["test"]["accuracy"]),
        ("test/macro_f1", summary["test"]["macro"]["f1"]),
    ):
        writer.add_scalar(name, value, epoch)
    writer.add_custom_scalars(
        {"training and validation": {m: ["Multiline", [f"train/{m}", f"val/{m}"]] for m in ("loss", "accuracy")}}
    )
    for name in ("confusion_matrix", "mistakes"):
        picture = report[f"{name}.png"]
        assert isinstance(picture, bytes)
        writer.add_image(
            f"test/{name}",
            np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")),
            epoch,
            dataformats="HWC",
        )
    labels, probabilities = predictions
    for label, name in enumerate(class_names):
        writer.add_pr_curve(f"test/{name}", labels == label, probabilities[:, label], epoch)
    writer.add_text("config", f"```yaml\n{config}\n```", epoch)
    writer.add_text("report", f"```\n{report['classification_report.txt']!s}\n```", epoch)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.trace")  # how add_graph itself looks at a network
        writer.add_graph(network.cpu().eval(), torch.zeros(1, 1, 28, 28))
