"""What the page's charts show: positions in percent of their plot, and the text that describes each.

The page draws them as SVG that is stretched to its place; labels are HTML, so that they have one size on every screen.
"""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from fmnist_lightning.evaluation.axes import epoch_axis, measure_axis
from fmnist_lightning.evaluation.choice import STAGES
from fmnist_lightning.evaluation.scores import CalibrationBin, worst_mistakes

MAX_DOTS = 60  # a longer curve has no dot per epoch
PALETTE = 16  # colours of an RGB image; its PNG is a third of the size
NUM_GUESSES = 3  # the most probable classes of a misclassified image


def curve(rows: Sequence[dict[str, float]], measure: str, best_epoch: int) -> dict[str, Any]:
    """A measure (accuracy or loss) of training and validation by epoch."""
    epochs = [row["epoch"] for row in rows]
    values = {stage: [row[f"{stage}/{measure}"] for row in rows] for stage in STAGES}
    x, y = epoch_axis(epochs), measure_axis([value for line in values.values() for value in line], measure)
    lines = {
        stage: [(x.percent(epoch), 100 - y.percent(value)) for epoch, value in zip(epochs, line, strict=True)]
        for stage, line in values.items()
    }
    course = "; ".join(
        f"{STAGES[stage]} {line[0]:.4f} in epoch {epochs[0]:.0f}"
        + (f", {line[-1]:.4f} in epoch {epochs[-1]:.0f}" if len(line) > 1 else "")
        for stage, line in values.items()
    )
    return {
        "lines": lines,
        "dots": len(rows) <= MAX_DOTS,
        "best": x.percent(best_epoch),
        "x_ticks": [(x.percent(tick), f"{tick:.0f}") for tick in x.ticks],
        "y_ticks": [(y.percent(tick), f"{tick:.6g}") for tick in y.ticks],
        "text": f"{measure.capitalize()} by epoch: {course}.",
    }


def reliability(bins: Sequence[CalibrationBin]) -> dict[str, Any]:
    """The reliability diagram: accuracy by confidence, and how many images have each confidence."""
    total = sum(part.num_images for part in bins)
    most = max(part.num_images for part in bins)
    confidence, accuracy = (
        sum(part.num_images * value for part, value in zip(bins, values, strict=True)) / total
        for values in zip(*((part.confidence, part.accuracy) for part in bins), strict=True)
    )
    farthest = max(bins, key=lambda part: part.num_images * abs(part.confidence - part.accuracy))
    ticks = [(20 * i, f"{i / 5:g}") for i in range(6)]
    where = f"between {farthest.low:.2f} and {farthest.high:.2f}"
    return {
        "bins": bins,
        "bars": [
            {
                "left": round(100 * part.low, 2),
                "width": round(100 * (part.high - part.low), 2),
                "accuracy": round(100 * part.accuracy, 2),
                "confidence": round(100 * part.confidence, 2),
                "images": round(100 * part.num_images / most, 2),
            }
            for part in bins
        ],
        "x_ticks": ticks,
        "y_ticks": ticks,
        "confidence": confidence,
        "text": f"Reliability diagram: mean confidence {confidence:.4f}, accuracy {accuracy:.4f}. The bin that "
        f"contributes most to the error is {where}: confidence {farthest.confidence:.4f}, accuracy "
        f"{farthest.accuracy:.4f}, {farthest.num_images} images.",
    }


def matrix_rows(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each cell of a confusion matrix: its count, and its share of the true class."""
    return [[(count, count / max(sum(row), 1)) for count in row] for row in counts]


def mistakes(
    images: Tensor, labels: Tensor, probabilities: Tensor, class_names: Sequence[str], saliency: Tensor
) -> list[dict[str, Any]]:
    """The worst mistakes, each with its image and its saliency map as PNGs and its most probable classes."""
    shown = []
    for index, overlay in zip(worst_mistakes(labels, probabilities).tolist(), saliency, strict=True):
        top = probabilities[index].topk(min(NUM_GUESSES, len(class_names)))
        label = int(labels[index])
        guesses = [
            (class_names[guess], probability, guess == label)
            for guess, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        shown.append(
            {
                "index": index,
                "true": class_names[label],
                "probability": probabilities[index, label].item(),
                "guesses": guesses,
                "image": to_png(images[index]),
                "saliency": to_png(overlay),
            }
        )
    return shown


def to_png(pixels: Tensor) -> bytes:
    """An image as a small PNG: grayscale (H, W) uint8, or RGB (H, W, 3) uint8 with a palette."""
    image = Image.fromarray(pixels.numpy())
    buffer = io.BytesIO()
    (image if image.mode == "L" else image.quantize(PALETTE)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
