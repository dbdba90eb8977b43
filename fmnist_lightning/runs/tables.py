"""A run's tables: metrics.csv, a row per epoch, and predictions.csv, a row per test image."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fmnist_lightning.runs.files import atomic_write, read_text

if TYPE_CHECKING:  # a directory without a run is rejected before torch is imported
    from torch import Tensor

MAX_TABLE_BYTES = 2**26  # 10,000 predictions have 1.5 million


def read_metrics(path: Path) -> list[dict[str, float]]:
    """One row per completed epoch, by column; empty without a file. Raises ValueError if it has no table of numbers."""
    if not path.exists():
        return []
    try:
        rows = csv.DictReader(io.StringIO(read_text(path, MAX_TABLE_BYTES)))
        return [{name: float(value) for name, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:  # a row with fewer or more values contains None
        raise ValueError(f"{path}: damaged, {error}") from error


def write_metrics(path: Path, rows: Sequence[dict[str, float]], flush: bool = True) -> None:
    """Replaces the rows; without rows the file is removed. `flush` as for `atomic_write`."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write(path, text.getvalue(), flush)


def write_predictions(path: Path, labels: "Tensor", probabilities: "Tensor") -> None:
    """Writes index, label, predicted, p0..p9 of every test image; labels (N,) int64, probabilities (N, 10) float32."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", "predicted", *(f"p{c}" for c in range(probabilities.shape[1]))])
    predicted = probabilities.argmax(dim=1).tolist()
    rows = zip(labels.tolist(), predicted, probabilities.tolist(), strict=True)
    for index, (label, prediction, row) in enumerate(rows):
        writer.writerow([index, label, prediction, *(f"{probability:.9g}" for probability in row)])
    atomic_write(path, text.getvalue())


def read_predictions(path: Path) -> "tuple[Tensor, Tensor]":
    """Labels and probabilities as written; raises ValueError if the file is not a table of predictions."""
    import torch

    try:
        header, *rows = csv.reader(io.StringIO(read_text(path, MAX_TABLE_BYTES)))
        if header[:3] != ["index", "label", "predicted"]:
            raise ValueError("its first line names other columns")
        columns = [header.index(f"p{c}") for c in range(len(header) - 3)]
        labels = torch.tensor([int(row[header.index("label")]) for row in rows])
        return labels, torch.tensor([[float(row[c]) for c in columns] for row in rows])
    except (ValueError, IndexError, OverflowError, RuntimeError, csv.Error) as error:
        raise ValueError(f"{path}: damaged, {error}") from error
