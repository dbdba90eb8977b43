"""What TensorBoard receives when a run ends: scores, images, precision-recall curves, text, the network.

The step is the epoch, counted from 1, in every chart.
"""

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import compute_curve

from fmnist_lightning.evaluation import hparams
from fmnist_lightning.evaluation.cards import confusion_card, mistakes_card
from fmnist_lightning.evaluation.run_values import GROUP, run_values

log = logging.getLogger(__name__)
THRESHOLDS = 127  # of a precision-recall curve; TensorBoard's largest number


def end_run(
    writer: SummaryWriter,
    summary: Mapping[str, Any],
    predictions: tuple[Tensor, Tensor],
    images: Tensor,
    texts: Mapping[str, str],
    class_names: Sequence[str],
) -> None:
    """Writes scores, images, precision-recall curves, and config, report and provenance as text.

    Args:
        writer: of the run directory.
        summary: the run's.
        predictions: labels (N,) and probabilities (N, 10) of the test images.
        images: the test images (N, 28, 28) uint8.
        texts: the composed configuration as yaml, `config`, and the classification report, `report`.
        class_names: by label.
    """
    epoch, (labels, probabilities), note = summary["best_epoch"], predictions, summary["data_note"]
    for tag, value in run_values(summary).items():
        writer.add_scalar(tag, value, epoch)
    confusions = confusion_card(summary["test"]["confusion_matrix"], class_names, note)
    mistakes = mistakes_card(images, labels, probabilities, class_names, note)
    writer.add_image(f"{GROUP}/confusion_matrix", confusions, epoch, dataformats="HWC")
    writer.add_image(f"{GROUP}/mistakes", mistakes, epoch, dataformats="HWC")
    for name, (tp, fp, tn, fn, precision, recall) in pr_curves(labels, probabilities, class_names).items():
        tag = f"precision_recall/{name}"
        writer.add_pr_curve_raw(tag, tp, fp, tn, fn, precision, recall, epoch, THRESHOLDS)
    origin = {key: summary[key] for key in ("device", "precision", "versions", "git_commit", "code_sha256")}
    origin |= {key: summary[key] for key in ("data", "data_sha256", "split_sha256", "overrides", "monitored")}
    writer.add_text("config", f"```yaml\n{texts['config']}\n```", epoch)
    writer.add_text("report", f"```\n{texts['report']}\n```", epoch)
    writer.add_text("provenance", f"```json\n{json.dumps(origin, indent=2)}\n```", epoch)
    hparams.end_run(writer, failed=summary["status"] == "failed")


def end_untested(writer: SummaryWriter, summary: Mapping[str, Any]) -> None:
    """Ends the row of the HParams table of a run that failed or is not tested, as the trials of a search."""
    failed = summary["status"] == "failed"
    for tag, value in run_values(summary).items() if "val" in summary and not failed else ():
        writer.add_scalar(tag, value, summary["best_epoch"])
    hparams.end_run(writer, failed)


def pr_curves(labels: Tensor, probabilities: Tensor, class_names: Sequence[str]) -> dict[str, np.ndarray]:
    """The precision-recall curve of each class against all others, and their macro average, which comes first.

    Returns:
        By name (6, THRESHOLDS): true and false positives, true and false negatives, precision, recall. The average
        has the sums of the counts, and the means of precision and recall at each threshold.
    """
    curves = {
        name: compute_curve((labels == label).numpy(), probabilities[:, label].numpy(), THRESHOLDS)
        for label, name in enumerate(class_names)
    }
    stacked = np.stack(list(curves.values()))  # (10, 6, THRESHOLDS)
    # without any prediction of a class, precision is undefined; TensorBoard ends that curve there, the mean counts 1
    precision = np.where(stacked[:, 0] + stacked[:, 1] > 0, stacked[:, 4], 1).mean(axis=0)
    macro = np.stack([*stacked[:, :4].sum(axis=0), precision, stacked[:, 5].mean(axis=0)])
    return {"All classes (macro average)": macro, **curves}  # sorts before the names of the classes


def add_graph(writer: SummaryWriter, network: nn.Module, inputs: Tensor) -> None:
    """Writes the graph of a network, if it can be traced.

    Args:
        writer: of the run directory.
        network: from normalised images to logits, on the CPU, in evaluation mode.
        inputs: a normalised image (1, 1, 28, 28) float32.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.trace")  # used by add_graph
        try:
            writer.add_graph(network, inputs)
        except Exception as error:  # not every network can be traced, and none with PYTORCH_JIT=0
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("TensorBoard shows no graph of this network: %s", what)
