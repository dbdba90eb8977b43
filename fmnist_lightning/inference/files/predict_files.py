"""Predicts a stream of image files: threads read and prepare them, ahead of the model."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from threading import Event
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from fmnist_lightning.config.cores import num_cores
from fmnist_lightning.data.image_files import ImageSource, decode_input, read_image
from fmnist_lightning.data.photos import prepare_photo
from fmnist_lightning.inference.ensemble import Ensemble
from fmnist_lightning.inference.files.prediction_csv import BLOCK_SIZE
from fmnist_lightning.inference.outliers import Classified
from fmnist_lightning.inference.predictor import Predictor

TASK_SIZE, TASK_BYTES = 32, 2**22  # images, and bytes already in memory, that a thread gets at a time
MAX_WAITING = 16  # tasks
MAX_WAITING_BYTES = 2**28
_EMPTY = np.zeros((28, 28), np.uint8)


class Prepared(NamedTuple):
    """A model's input, or why there is none."""

    source: ImageSource
    image: np.ndarray | None  # (28, 28) uint8
    error: str
    is_photo: bool = True  # False if it was in the dataset's format


class PredictedBatch(NamedTuple):
    """Images with their predictions, which mean nothing where an image has no input."""

    images: list[Prepared]
    classified: Classified


def predict_files(
    predictor: Predictor | Ensemble, sources: Iterable[ImageSource], save_inputs: Path | None = None
) -> Iterator[PredictedBatch]:
    """Predicts images in the order of their sources, BLOCK_SIZE at a time.

    As many threads as there are cores prepare photos; the model computes with half as many.

    Args:
        predictor: the model.
        sources: the images.
        save_inputs: the directory in which the model's inputs are saved as PNG, under the names of the sources.

    Raises:
        ValueError: photos need a package that is not installed.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, min(num_threads, num_cores() // 2)))
    try:
        for images in prepared_batches(sources, num_cores(), save_inputs):
            inputs = np.stack([_EMPTY if prepared.image is None else prepared.image for prepared in images])
            yield PredictedBatch(images, predictor.classify(torch.from_numpy(inputs)))
    except ImportError as error:
        raise ValueError(str(error)) from error
    finally:
        torch.set_num_threads(num_threads)


def prepare(source: ImageSource, save_inputs: Path | None = None) -> Prepared:
    """Reads an image; a file that cannot be read or prepared, for whatever reason, is reported with its reason.

    Args:
        source: the image.
        save_inputs: the directory in which the input is saved as PNG, under the name of the source.

    Raises:
        ImportError: the package that photos need is not installed.
    """
    try:
        data = source.read()
        image = decode_input(data)
        if is_photo := image is None:
            image = prepare_photo(read_image(data)).image
        if save_inputs is not None:
            path = input_path(save_inputs, source.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    except ImportError:
        raise
    except Exception as error:  # one image must not end a run of a million
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if not isinstance(error, ValueError | OSError):
            message = f"{type(error).__name__}: {message}"
        return Prepared(source, None, " ".join(message.split()))
    return Prepared(source, image, "", is_photo)


def input_path(directory: Path, name: str) -> Path:
    """Where the input made from a source is saved: below the directory, whatever the name contains."""
    name = name.replace("\\", "/").replace(":", "_") if os.name == "nt" else name
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "//", "..")]
    path = directory.joinpath(*parts or ["image"])
    return path if path.suffix == ".png" else path.with_name(f"{path.name}.png")


def prepared_batches(
    sources: Iterable[ImageSource], num_threads: int, save_inputs: Path | None = None
) -> Iterator[list[Prepared]]:
    """The images in the order of their sources, BLOCK_SIZE at a time."""
    batch: list[Prepared] = []
    for prepared in _prepared_tasks(sources, num_threads, save_inputs):
        batch += prepared
        while len(batch) >= BLOCK_SIZE:
            yield batch[:BLOCK_SIZE]
            batch = batch[BLOCK_SIZE:]
    if batch:
        yield batch


def _prepared_tasks(
    sources: Iterable[ImageSource], num_threads: int, save_inputs: Path | None
) -> Iterator[list[Prepared]]:
    waiting: deque[tuple[Future[list[Prepared]], int]] = deque()
    any_photo = False
    stop = Event()  # after Ctrl-C, in the middle of tasks
    sources = iter(sources)
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for task in chain([list(islice(sources, 1))], _tasks(sources)):
                if not any_photo:  # decoding images in the dataset's format is Python code, slower with more threads
                    prepared = _prepare_all(task, save_inputs, stop)
                    any_photo = any(each.is_photo for each in prepared)
                    yield prepared
                    continue
                num_bytes = sum(source.num_bytes for source in task)
                waiting.append((pool.submit(_prepare_all, task, save_inputs, stop), num_bytes))
                while len(waiting) > MAX_WAITING or sum(size for _, size in waiting) > MAX_WAITING_BYTES:
                    yield waiting.popleft()[0].result()
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _tasks(sources: Iterable[ImageSource]) -> Iterator[list[ImageSource]]:
    task: list[ImageSource] = []
    num_bytes = 0
    for source in sources:
        task.append(source)
        num_bytes += source.num_bytes
        if len(task) == TASK_SIZE or num_bytes > TASK_BYTES:
            yield task
            task, num_bytes = [], 0
    if task:
        yield task


def _prepare_all(task: Sequence[ImageSource], save_inputs: Path | None, stop: Event) -> list[Prepared]:
    return [prepare(source, save_inputs) for source in task if not stop.is_set()]
