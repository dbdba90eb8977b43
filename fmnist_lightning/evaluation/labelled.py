"""Scores of predictions for images whose labels the user has: accuracy by kind of garment, and of the outlier flag."""

import csv
import textwrap
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MAX_LABELS_BYTES = 2**26
NO_CLASS = "none of the classes"


class Labelled(NamedTuple):
    """What a line of the labels says of an image."""

    kind: str  # such as dress; by default the names of the accepted classes
    accepted: frozenset[int]  # labels that count as correct; empty for none of the classes


class LabelledScores:
    """Counts predictions of images by their kinds.

    Args:
        path: a CSV file with the columns file (relative to its directory; of images that are not below it, the name),
            labels (numbers, | between several accepted ones, empty for none of the classes) and optionally kind.
        class_names: by label.

    Raises:
        ValueError: it cannot be read, or is not such a table; names the argument labels.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self.file, self.directory, self.class_names = path, path.parent.resolve(), class_names
        try:
            if path.exists() and not path.is_file():
                raise ValueError("not a file")
            if path.stat().st_size > MAX_LABELS_BYTES:
                raise ValueError(f"larger than {MAX_LABELS_BYTES / 2**20:.0f} MiB")
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                self.labels = _read_labels(file, class_names)
        except (OSError, ValueError, csv.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(f"labels={path}: {reason}") from None
        self.predicted: dict[str, Counter[int]] = defaultdict(Counter)  # by kind
        self.correct: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self.scores = {True: array("f"), False: array("f")}  # outlier scores of images with a class, and without one

    def add(self, path: str, name: str, label: int, outlier_score: float, is_outlier: bool) -> None:
        """Counts the prediction of an image if it has labels, by its name or its path."""
        labelled = self._find(path, name)
        if labelled is None:
            return
        self.predicted[labelled.kind][label] += 1
        self.correct[labelled.kind] += label in labelled.accepted
        self.flagged[labelled.kind] += is_outlier
        self.scores[bool(labelled.accepted)].append(outlier_score)

    def _find(self, path: str, name: str) -> Labelled | None:
        with suppress(ValueError, OSError):  # not below the directory; a name that is too long
            if (file := Path(path)).exists():  # not so the member of an archive
                return self.labels.get(file.resolve().relative_to(self.directory).as_posix())
        return self.labels.get(name)

    def lines(self) -> Iterator[str]:
        """The scores as plain text in 80 columns."""
        num_images = sum(map(len, self.scores.values()))
        yield f"labelled images: {num_images:,} predicted, of {len(self.labels):,} in the file"
        known = {labelled.kind: bool(labelled.accepted) for labelled in self.labels.values()}
        counts = {kind: self.predicted[kind].total() for kind in known if self.predicted[kind]}
        kinds = sorted(counts, key=lambda kind: (not known[kind], kind))
        if not kinds:
            return
        total = sum(counts[kind] for kind in kinds if known[kind])
        correct = sum(self.correct[kind] for kind in kinds if known[kind])
        width = max(len("all with a class"), *map(len, kinds))
        yield f"\n{'kind':<{width}} {'images':>7} {'accuracy':>9} {'all others':>11} {'flagged':>8}"
        for kind in kinds:
            n = counts[kind]
            accuracy, others = ("", "")
            if known[kind]:
                accuracy = f"{self.correct[kind] / n:.4f}"
                others = f"{(correct - self.correct[kind]) / (total - n):.4f}" if total > n else ""
            yield f"{kind:<{width}} {n:>7,} {accuracy:>9} {others:>11} {self.flagged[kind] / n:>8.1%}"
        if total:
            flagged = sum(self.flagged[kind] for kind in kinds if known[kind]) / total
            yield f"{'all with a class':<{width}} {total:>7,} {correct / total:>9.4f} {'':>11} {flagged:>8.1%}"
        yield from self._confusion(kinds, width)
        if (auroc := self.auroc()) is not None:
            with_class, without = (f"{len(self.scores[key]):,}" for key in (True, False))
            yield f"\noutlier score: AUROC {auroc:.4f}, {without} images of no class against {with_class}"

    def _confusion(self, kinds: Sequence[str], width: int) -> Iterator[str]:
        used = sorted({label for kind in kinds for label in self.predicted[kind]})
        yield "\nimages of a kind (row) that were predicted as a class (column)"
        yield " " * width + "".join(f"{label:>6}" for label in used)
        for kind in kinds:
            yield f"{kind:<{width}}" + "".join(f"{self.predicted[kind][label] or '.':>6}" for label in used)
        legend = ", ".join(f"{label}\xa0{self.class_names[label]}" for label in used)  # not broken within a name
        yield from (line.replace("\xa0", " ") for line in textwrap.wrap(legend, 80))

    def auroc(self) -> float | None:
        """Of the outlier score, images of no class against the others; None if there are none of one kind."""
        with_class, without = self.scores[True], self.scores[False]
        if not with_class or not without:
            return None
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score([0] * len(with_class) + [1] * len(without), [*with_class, *without]))


def _read_labels(file: Iterator[str], class_names: Sequence[str]) -> dict[str, Labelled]:
    rows = csv.DictReader(file)
    missing = [column for column in ("file", "labels") if column not in (rows.fieldnames or [])]
    if missing:
        raise ValueError(f"has no column {missing[0]}; the columns are file, labels and optionally kind")
    labels: dict[str, Labelled] = {}
    for row in rows:
        words = [word.strip() for word in (row["labels"] or "").split("|") if word.strip()]
        if not row["file"] or not all(word.isdecimal() and int(word) < len(class_names) for word in words):
            raise ValueError(
                f"line {rows.line_num}: {row['labels']} must be labels from 0 to {len(class_names) - 1} with | between "
                "them, or nothing"
            )
        accepted = frozenset(map(int, words))
        names = " or ".join(class_names[label] for label in sorted(accepted))
        labels[row["file"]] = Labelled(row.get("kind") or names or NO_CLASS, accepted)
    return labels
