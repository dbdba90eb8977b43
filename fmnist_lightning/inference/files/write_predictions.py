"""Predicts image files and writes the rows as they are computed."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from fmnist_lightning.data.image_files import ImageSource
from fmnist_lightning.inference.ensemble import Ensemble
from fmnist_lightning.inference.files.predict_files import PredictedBatch, predict_files
from fmnist_lightning.inference.files.prediction_csv import COLUMNS, PredictionCsv
from fmnist_lightning.inference.files.progress import PredictionProgress
from fmnist_lightning.inference.predictor import Predictor

_NO_PREDICTION = [""] * (len(COLUMNS) - 2)


def write_predictions(
    predictor: Predictor | Ensemble,
    output: PredictionCsv,
    find: Callable[[], Iterator[ImageSource]],
    save_inputs: Path | None = None,
    score: Callable[[str, str, int, float, bool], None] | None = None,
    total: int | None = None,
) -> float:
    """Writes a row per image, after those that an earlier command wrote; returns the images per second.

    Args:
        predictor: the model.
        output: the file.
        find: returns the images, in the same order each time.
        save_inputs: as for `predict_files`.
        score: called for each image that was read with path, name, label, outlier score and whether it is an outlier.
        total: the number of images, if it is known.

    Raises:
        ValueError: as `predict_files` and `PredictionCsv.writing`.
    """
    sources = find()
    with output.writing(sources):
        if score and output.num_resumed:  # the rows do not have the outlier scores
            for batch in predict_files(predictor, islice(find(), output.num_resumed)):
                score_batch(batch, score)
        with PredictionProgress(total, output.num_resumed) as progress:
            for batch in predict_files(predictor, sources, save_inputs):
                output.write(to_rows(batch, predictor.class_names))
                progress.update(output.num_images, output.num_errors)
                if score:
                    score_batch(batch, score)
    return progress.images_per_second


def score_batch(batch: PredictedBatch, score: Callable[[str, str, int, float, bool], None]) -> None:
    """Calls `score` as described for `write_predictions`."""
    labels, classified = batch.classified.probabilities.argmax(dim=1), batch.classified
    columns = (labels.tolist(), classified.outlier_scores.tolist(), classified.is_outlier.tolist())
    for prepared, *prediction in zip(batch.images, *columns, strict=True):
        if prepared.image is not None:
            score(prepared.source.path, prepared.source.name, *prediction)


def to_rows(batch: PredictedBatch, class_names: Sequence[str]) -> list[list[str]]:
    """Rows of `prediction_csv.COLUMNS`."""
    classified = batch.classified
    # stable, so that of equal probabilities the first comes first, as with argmax; topk takes any
    values, labels = classified.probabilities.sort(dim=1, descending=True, stable=True)
    columns = zip(
        batch.images,
        classified.probabilities.tolist(),
        values[:, 0].tolist(),
        labels[:, :3].tolist(),
        classified.is_outlier.tolist(),
        classified.reasons,
        strict=True,
    )
    rows = []
    for prepared, probabilities, highest, (label, second, third), unlike, reason in columns:
        if prepared.image is None:
            rows.append([prepared.source.path, *_NO_PREDICTION, prepared.error])
            continue
        names = [class_names[label], f"{highest:.6g}", class_names[second], class_names[third]]
        formatted = [f"{probability:.6g}" for probability in probabilities]
        rows.append([prepared.source.path, str(label), *names, *formatted, str(int(unlike)), reason, ""])
    return rows
