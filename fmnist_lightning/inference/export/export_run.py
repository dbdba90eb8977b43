"""Exports a run's model to the content of files, and verifies each on all test images before anything is written."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.export import exported, parity
from fmnist_lightning.inference.export.parity import Parity
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.models import Classifier

ONNX, INT8, TORCH = "model.onnx", "model.int8.onnx", "model.pt2"


class Export(NamedTuple):
    """The exported files, in memory, and how they compare with PyTorch on the test images."""

    files: dict[str, bytes]  # by name
    parities: dict[str, Parity]  # by name
    logits: Tensor  # (N, 10) of PyTorch, divided by the temperature


def export_model(
    model: Classifier,
    predictor: Predictor,
    data: FashionMNISTData,
    metadata: Mapping[str, Any],
    names: Sequence[str],
    show_stage: Callable[[str], None],
) -> Export:
    """Exports a model to files.

    Args:
        model: the trained model; its weights become contiguous.
        predictor: of the same model in float32 on the CPU, the reference.
        data: of the run, set up.
        metadata: of `model_card.describe`.
        names: of the files: ONNX, INT8 (needs ONNX before it), TORCH.
        show_stage: is told what is being done.

    Raises:
        ValueError: the model cannot be exported, or a file does not compute what PyTorch does.
    """
    images, labels = data.images["test"], data.labels["test"]
    show_stage("predicting the test images with PyTorch")
    logits = predictor.calibrated(predictor.logits(images))
    reference = logits.softmax(dim=1)
    show_stage("tracing the model")
    program = exported.trace(model, predictor.calibration.temperature)
    files: dict[str, bytes] = {}
    parities: dict[str, Parity] = {}
    for name in names:
        show_stage(f"exporting and testing {name}")
        if name == TORCH:
            files[name] = exported.to_torch(program, metadata)
        elif name == ONNX:
            files[name] = exported.to_onnx(program, metadata)
        else:
            from fmnist_lightning.inference.export.quantized import quantize

            files[name] = quantize(files[ONNX], data.images["train"], metadata)
        load = exported.load_torch if name == TORCH else exported.load_onnx
        parities[name] = parity.compare(exported.compute_batches(load(files[name]), images), reference, labels)
        if name != INT8:
            parity.check(name, parities[name])
    return Export(files, parities, logits)
