"""What TensorBoard shows of a run in addition to the scalars: a row of the HParams table, images, text, features."""

import io
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

# TensorBoard takes the columns of the HParams table from a single run: all runs must have the same, of the same types
METRICS = (
    *("best/monitored", "best/val_loss", "best/val_accuracy", "test/accuracy", "test/macro_f1"),
    *("epochs", "fit_seconds"),
)
log = logging.getLogger(__name__)
NUM_FEATURES = 1000  # test images in the projector


def settings(cfg: DictConfig, summary: Mapping[str, Any]) -> dict[str, str | float]:
    """The columns of the HParams table: the same flat keys for every model, optimizer and scheduler.

    Args:
        cfg: the run's.
        summary: with its model, data, seed and precision.
    """

    def text(key: str) -> str:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, bool):
            return "true" if value else "false"
        if key.endswith("_target_"):
            return str(value or "").rpartition(".")[2]  # the class without its module
        return "" if value is None else str(value)

    def number(key: str) -> float:
        value = OmegaConf.select(cfg, key)
        return 0.0 if value is None else float(value)

    texts = {
        "model": str(summary["model"]),
        "data": str(summary["data"]),
        "precision": str(summary["precision"]),
        "optimizer": text("optimizer._target_"),
        "scheduler": text("scheduler._target_") or "none",
        "batch_norm": text("model.batch_norm"),
        "augment": text("data.augment"),
        "monitor": text("callbacks.best_checkpoint.monitor"),
        "layers": "-".join(map(text, ("model.hidden", "model.filters", "model.head"))).strip("-"),
    }
    keys = ("optimizer.lr", "optimizer.weight_decay", "model.dropout", "data.batch_size", "data.train_fraction")
    numbers = {key.rpartition(".")[2]: number(key) for key in (*keys, "trainer.max_epochs", "seed")}
    return {**texts, **numbers, "patience": number("callbacks.early_stopping.patience")}


def begin_run(writer: SummaryWriter, columns: Mapping[str, str | float]) -> None:
    """Writes the run's row of the HParams table, without scores, and the layout of the charts."""
    experiment, session, _ = hparams(dict(columns), dict.fromkeys(METRICS, 0.0))
    for part in (experiment, session):
        writer._get_file_writer().add_summary(part)
    writer.add_custom_scalars(
        {"training and validation": {m: ["Multiline", [f"train/{m}", f"val/{m}"]] for m in ("loss", "accuracy")}}
    )
    writer.flush()


def end_run(
    writer: SummaryWriter,
    summary: Mapping[str, Any],
    predictions: tuple[Tensor, Tensor],
    report: Mapping[str, str | bytes],
    config: str,
    class_names: Sequence[str],
) -> None:
    """Writes scores, figures, a precision-recall curve per class, and config, report and provenance as text.

    Args:
        writer: of the run directory.
        summary: the run's.
        predictions: labels (N,) and probabilities (N, 10) of the test images.
        report: the report's files by name.
        config: the composed configuration, as yaml.
        class_names: by label.
    """
    from PIL import Image

    epoch, test = summary["best_epoch"], summary["test"]
    best = (summary["monitored"]["value"], summary["val"]["loss"], summary["val"]["accuracy"])
    scores = (test["accuracy"], test["macro"]["f1"], summary["epochs"], summary["fit_seconds"])
    for name, value in zip(METRICS, (*best, *scores), strict=True):
        writer.add_scalar(name, value, epoch)
    writer.add_scalar("test/loss", test["loss"], epoch)
    for name in ("confusion_matrix", "mistakes"):
        picture = report[f"{name}.png"]
        assert isinstance(picture, bytes)
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        writer.add_image(f"test/{name}", pixels, epoch, dataformats="HWC")
    labels, probabilities = predictions
    for label, name in enumerate(class_names):
        writer.add_pr_curve(f"test/{name}", labels == label, probabilities[:, label], epoch)
    writer.add_text("config", f"```yaml\n{config}\n```", epoch)
    writer.add_text("report", f"```\n{report['classification_report.txt']!s}\n```", epoch)
    origin = {key: summary[key] for key in ("device", "precision", "versions", "git_commit", "code_sha256")}
    origin |= {key: summary[key] for key in ("data", "data_sha256", "split_sha256", "overrides", "monitored")}
    writer.add_text("provenance", f"```json\n{json.dumps(origin, indent=2)}\n```", epoch)
    success = hparams({}, {})[2]
    writer._get_file_writer().add_summary(success)


def show_network(
    writer: SummaryWriter,
    normalize: nn.Module,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
) -> None:
    """Writes the graph, and to the projector the features before the last layer of some test images.

    Args:
        writer: of the run directory.
        normalize: from the images to normalised images (N, 1, 28, 28) float32.
        network: from normalised images to logits, on the CPU, in evaluation mode.
        images: (N, 28, 28) uint8.
        labels: (N,).
        class_names: by label.
    """
    inputs = normalize(images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.trace")  # used by add_graph
        try:
            writer.add_graph(network, inputs[:1])
        except Exception as error:  # not every network can be traced, and none with PYTORCH_JIT=0
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("TensorBoard shows no graph of this network: %s", what)
    if not isinstance(network, nn.Sequential):
        return
    with torch.inference_mode():
        features = network[:-1](inputs)  # (N, units of the last hidden layer)
    names = [class_names[label] for label in labels.tolist()]
    writer.add_embedding(features, names, images.unsqueeze(1).float() / 255, tag="penultimate_layer")
