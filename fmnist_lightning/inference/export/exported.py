"""A model as a file that runs without this package: ONNX, or PyTorch's .pt2. Images in, probabilities out."""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fmnist_lightning.models import Classifier
from fmnist_lightning.models.classifier import NUM_CLASSES

Compute = Callable[[Tensor], Tensor]  # images (N, 1, 28, 28) float32 in [0, 1] to probabilities (N, 10)
BATCH_SIZE = 1000
METADATA_FILE = "metadata.json"  # in a .pt2 file


class ExportedModel(nn.Module):
    """From images (N, 1, 28, 28) float32 in [0, 1] to calibrated probabilities (N, 10).

    Args:
        model: the trained model, which normalises its images.
        temperature: the logits are divided by it.
    """

    temperature: Tensor

    def __init__(self, model: Classifier, temperature: float) -> None:
        super().__init__()
        # channels last is a layout for training; torch.export stores contiguous weights
        self.classifier = model.to(memory_format=torch.contiguous_format)
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of images."""
        return torch.softmax(self.classifier(images) / self.temperature, dim=1)


def trace(model: Classifier, temperature: float) -> ExportedProgram:
    """The computation in float32, with any number of images; see ExportedModel.

    Raises:
        ValueError: torch.export does not support the model, or it has another number of classes.
    """
    exported = ExportedModel(model, temperature).cpu().float().eval()
    images = torch.zeros(2, 1, 28, 28)
    try:
        with torch.inference_mode():
            shape = tuple(exported(images).shape)
        program = torch.export.export(exported, (images,), dynamic_shapes={"images": {0: Dim("N")}})
    except Exception as error:  # a user's model can raise anything
        raise _export_error(type(model).__name__, "torch.export", error) from error
    if shape != (2, NUM_CLASSES):
        raise ValueError(f"{type(model).__name__}: has {shape[-1]} outputs; only models of {NUM_CLASSES} classes")
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names the directories of this machine
    return program


def to_onnx(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The content of an ONNX file, verified by ONNX's checker; metadata other than text is stored as JSON.

    Raises:
        ValueError: torch.onnx does not support the model.
    """
    import onnx

    try:
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes={"images": {0: "N"}},
            external_data=False,  # one file
            verbose=False,
        )
        assert converted is not None
        model = converted.model_proto
        add_metadata(model, metadata)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever a user's model needs and ONNX lacks
        raise _export_error("model.onnx", "torch.onnx", error) from error
    return bytes(model.SerializeToString())


def add_metadata(model: Any, metadata: Mapping[str, Any]) -> None:
    """Sets the metadata of an ONNX model; values other than text are stored as JSON."""
    import onnx

    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)


def to_torch(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The content of a .pt2 file, which `torch.export.load` reads; its metadata is the extra file metadata.json."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(metadata, indent=2)})
    return buffer.getvalue()


def load_onnx(content: bytes) -> Compute:
    """Runs an ONNX file's content with onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])


def load_torch(content: bytes) -> Compute:
    """Runs a .pt2 file's content with PyTorch."""
    module = torch.export.load(io.BytesIO(content)).module()
    return torch.inference_mode()(module)


def compute_batches(compute: Compute, images: Tensor) -> Tensor:
    """Probabilities (N, 10) of images (N, 28, 28) uint8: of the first alone, then of batches."""
    batches = [images[:1], *images[1:].split(BATCH_SIZE)]
    return torch.cat([compute(batch.unsqueeze(1).float() / 255) for batch in batches])


def _export_error(name: str, exporter: str, error: BaseException) -> ValueError:
    """The first line of an exporter's error, which may fill pages."""
    while error.__cause__ is not None:  # torch.onnx wraps what went wrong
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    what = f"{type(error).__name__}: {line}"[:200]
    return ValueError(f"{name}: cannot be exported by {exporter} ({what}); HYDRA_FULL_ERROR=1 shows the whole error")
