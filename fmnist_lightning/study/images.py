"""Single test images: confused pairs, images that every run misclassifies, near-duplicates of training images."""

from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.charts import to_png
from fmnist_lightning.evaluation.report import data_url
from fmnist_lightning.evaluation.statistics import describe
from fmnist_lightning.study.plan import Variant
from fmnist_lightning.study.records import Record, Records
from fmnist_lightning.study.reported import MODELS

# Root mean square difference of two images' pixels, which are in [0, 1]. Judged by eye on Fashion-MNIST: pairs below it
# show the same garment, shifted or brightened a little; most pairs above it are different trousers.
SAME_GARMENT = 0.04
NUM_PAIRS = 6  # of classes that are shown
NUM_SHOWN = 24  # images that every run misclassifies


class Confused(NamedTuple):
    """Test images of one class that are predicted as another."""

    true: int
    predicted_as: int
    num_images: float  # mean over the runs
    indices: list[int]  # those that most runs confuse first


class Wrong(NamedTuple):
    """A test image that every run of both models misclassifies."""

    image: int
    label: int
    predicted_as: int  # by most runs
    votes: int


class Duplicate(NamedTuple):
    """A test image and its nearest training image."""

    image: int
    train_image: int  # index in the training images of the split, followed by the validation images
    distance: float
    label: int
    train_label: int


def confused_pairs(runs: dict[int, Record], num_images: int = 5) -> list[Confused]:
    """The most frequent mistakes of one model over its seeds, most frequent first."""
    labels = next(iter(runs.values())).labels
    predicted = torch.stack([record.predicted for record in runs.values()])  # (runs, N)
    pairs = Counter(
        (int(true), int(wrong))
        for row in predicted
        for true, wrong in zip(labels[row != labels], row[row != labels], strict=True)
    )
    confused = []
    for (true, wrong), count in pairs.most_common(NUM_PAIRS):
        votes = ((predicted == wrong) & (labels == true)).sum(dim=0)
        indices = votes.argsort(descending=True, stable=True)[:num_images]
        shown = [index for index in indices.tolist() if votes[index] > 0]
        confused.append(Confused(true, wrong, count / len(runs), shown))
    return confused


def always_wrong(records: Records) -> list[Wrong]:
    """Images that every run misclassifies, those with the most equal predictions first."""
    runs = [record for model in MODELS for record in records[Variant(model)].values()]
    labels = runs[0].labels
    predicted = torch.stack([record.predicted for record in runs])
    found = []
    for index in (predicted != labels).all(dim=0).nonzero().squeeze(1).tolist():
        prediction, votes = Counter(predicted[:, index].tolist()).most_common(1)[0]
        found.append(Wrong(index, int(labels[index]), prediction, votes))
    return sorted(found, key=lambda wrong: -wrong.votes)


def near_duplicates(data: FashionMNISTData) -> list[Duplicate]:
    """Test images that differ from a training image by less than SAME_GARMENT, nearest first."""
    train, test = (_pixels(data, stages) for stages in (("train", "val"), ("test",)))
    train_labels = torch.cat([data.labels["train"], data.labels["val"]])
    nearest = [torch.cdist(some, train).min(dim=1) for some in test.split(500)]
    distances = torch.cat([values for values, _ in nearest]) / train.shape[1] ** 0.5
    neighbours = torch.cat([indices for _, indices in nearest])
    found = [
        Duplicate(
            index,
            int(neighbours[index]),
            round(distances[index].item(), 4),
            int(data.labels["test"][index]),
            int(train_labels[neighbours[index]]),
        )
        for index in (distances < SAME_GARMENT).nonzero().squeeze(1).tolist()
    ]
    return sorted(found, key=lambda pair: pair.distance)


def _pixels(data: FashionMNISTData, stages: tuple[str, ...]) -> Tensor:
    return torch.cat([data.images[stage] for stage in stages]).flatten(1).float() / 255  # (N, 784)


def findings(records: Records, wrong: list[Wrong], duplicates: list[Duplicate]) -> dict[str, Any]:
    """The part of results.json about single images: their indices, and accuracies without the near-duplicates."""
    copies = {pair.image for pair in duplicates}
    result: dict[str, Any] = {
        "always_wrong": [image._asdict() for image in wrong],
        "near_duplicates": [pair._asdict() for pair in duplicates],
        "near_duplicate_below": SAME_GARMENT,
        "accuracy_without_near_duplicates": {},
        "confused_pairs": {},
    }
    for model in MODELS:
        runs = records[Variant(model)]
        keep = torch.tensor([index not in copies for index in range(len(next(iter(runs.values())).labels))])
        result["accuracy_without_near_duplicates"][model] = describe(
            [(r.predicted == r.labels)[keep].double().mean().item() for r in runs.values()]
        )
        result["confused_pairs"][model] = [pair._asdict() for pair in confused_pairs(runs)]
    return result


class ImageUrls:
    """Single images as PNG data URLs, for a self-contained page."""

    def __init__(self, data: FashionMNISTData) -> None:
        self._test = data.images["test"]
        self._train = torch.cat([data.images["train"], data.images["val"]])

    def test(self, index: int) -> str:
        """Of a test image."""
        return _to_url(self._test[index])

    def train(self, index: int) -> str:
        """Of a training or validation image, by its index in `Duplicate`."""
        return _to_url(self._train[index])


def _to_url(image: Tensor) -> str:
    return data_url(to_png(image))
