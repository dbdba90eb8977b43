"""The scores of models on a directory of the user's photos with a labels.csv, as the command `predict` reads it."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.image_files import ImageSource
from fmnist_lightning.data.image_sources import find_sources
from fmnist_lightning.evaluation.labelled import LabelledScores
from fmnist_lightning.evaluation.statistics import proportion
from fmnist_lightning.inference.files.predict_files import predict_files
from fmnist_lightning.inference.files.write_predictions import score_batch
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.runs.files import sha256


def check_photos(photos: Path) -> None:
    """Validates the directory before anything is trained.

    Raises:
        ValueError: no labels, no photo that has one of the classes, or OpenCV is not installed.
    """
    try:
        import cv2  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("reproduce.photos: needs OpenCV: pip install 'fmnist_lightning[photos]'") from None
    if not _labels(photos).is_file():
        raise ValueError(f"reproduce.photos={photos}: must be a directory with labels.csv, see docs/predict.md")
    try:
        scores = LabelledScores(_labels(photos), CLASS_NAMES)
        for source in _sources(photos):
            scores.add(source.path, source.name, 0, 0.0, False)
    except ValueError as error:
        raise ValueError(f"reproduce.photos={photos}: {error}; docs/predict.md describes the labels") from None
    if not scores.scores[True]:
        raise ValueError(f"reproduce.photos={photos}: {_labels(photos)} names no photo of one of the classes")


def score_photos(photos: Path, predictors: Mapping[str, Predictor]) -> dict[str, Any]:
    """The part `photos` of results.json: accuracies with exact binomial intervals over the photos.

    Args:
        photos: the directory.
        predictors: by model.
    """
    scored = {model: _score(photos, predictor) for model, predictor in predictors.items()}
    scores = next(iter(scored.values()))
    return {
        "source": photos.resolve().name,
        "labels_sha256": sha256(_labels(photos)),
        "n": len(scores.scores[True]),
        "num_without_class": len(scores.scores[False]),
        "unread": len(scores.labels) - sum(map(len, scores.scores.values())),
        "models": {model: _describe(scores) for model, scores in scored.items()},
    }


def _labels(photos: Path) -> Path:
    return photos / "labels.csv"


def _sources(photos: Path) -> Iterator[ImageSource]:
    return find_sources(str(photos), io.BytesIO(), [_labels(photos)])


def _score(photos: Path, predictor: Predictor) -> LabelledScores:
    scores = LabelledScores(_labels(photos), CLASS_NAMES)
    for batch in predict_files(predictor, _sources(photos)):
        score_batch(batch, scores.add)
    return scores


def _describe(scores: LabelledScores) -> dict[str, Any]:
    has_class = {labelled.kind: bool(labelled.accepted) for labelled in scores.labels.values()}
    found = sorted(scores.predicted, key=lambda kind: (not has_class[kind], kind))
    known = [kind for kind in found if has_class[kind]]
    return {
        **_shares(scores, known, True),
        "correct": sum(scores.correct[kind] for kind in known),
        "auroc": scores.auroc(),
        "kinds": [
            {"kind": kind, "has_class": has_class[kind], **_shares(scores, [kind], has_class[kind])} for kind in found
        ],
    }


def _shares(scores: LabelledScores, kinds: list[str], has_class: bool) -> dict[str, Any]:
    """{n, flagged, accuracy, interval} of the photos of some kinds; no class or photo: the last two are null."""
    num = sum(scores.predicted[kind].total() for kind in kinds)
    correct, flagged = (sum(counts[kind] for kind in kinds) for counts in (scores.correct, scores.flagged))
    accuracy = proportion(correct, num) if has_class and num else {"share": None, "interval": None}
    flagged_share = round(flagged / num, 6) if num else None
    return {"n": num, "flagged": flagged_share, "accuracy": accuracy["share"], "interval": accuracy["interval"]}
