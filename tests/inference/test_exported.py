"""Exported files compute what PyTorch computes, for any number of images, or are rejected."""

import copy
import math
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference.calibration import Calibration
from fmnist_lightning.inference.export import exported, parity
from fmnist_lightning.inference.export.export_run import ONNX, TORCH, Export, export_model
from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.models import CNN, Classifier


def trained(model: Classifier) -> Classifier:
    """The model with the mean, standard deviation and batch statistics of some images, in training mode."""
    torch.manual_seed(0)
    model.normalize.set_mean_and_std(0.286, 0.353)
    for _ in range(3):
        model(torch.rand(64, 1, 28, 28))
    return model.train()


@pytest.fixture(scope="module")
def images(data_root) -> FashionMNISTData:
    data = FashionMNISTData("synthetic", root=str(data_root), num_train=400, num_test=100)
    data.setup()
    return data


class Layers(Classifier):
    """A user's model of one function and one layer."""

    def __init__(self, function: Callable[[Tensor], Tensor], num_classes: int = 10) -> None:
        class Function(nn.Module):
            def forward(self, inputs: Tensor) -> Tensor:
                return function(inputs)

        super().__init__(nn.Sequential(Function(), nn.Flatten(), nn.Linear(784, num_classes)))


def export(model: Classifier, data, names: tuple[str, ...], temperature: float = 1.0) -> Export:
    predictor = Predictor(copy.deepcopy(model), 1, "cpu", "32-true", Calibration(temperature))
    metadata = {"class_names": ["a", "b"], "run": "one"}
    return export_model(model, predictor, data, metadata, names, lambda stage: None)


@pytest.fixture(scope="module")
def model() -> Classifier:
    return trained(CNN(filters=[4, 8], head=[16]))


@pytest.fixture(scope="module")
def files(model, images) -> dict[str, bytes]:
    """The exported files of `model` with temperature 1.5."""
    exports = export(model, images, (ONNX, TORCH), temperature=1.5)
    assert all(each.is_equivalent and each.num_images == 100 for each in exports.parities.values())
    return exports.files


def test_files_give_calibrated_probabilities_of_any_number_of_images(model, files, images):
    for name, load in ((ONNX, exported.load_onnx), (TORCH, exported.load_torch)):
        compute = load(files[name])
        for num in (0, 1, 2, 33):
            some = images.images["test"][:num].unsqueeze(1).float() / 255
            expected = (model(some) / 1.5).softmax(dim=1)
            torch.testing.assert_close(compute(some), expected, rtol=0, atol=parity.TOLERANCE)


def test_onnx_file_has_the_documented_input_output_and_metadata(files):
    content = onnx.load_from_string(files[ONNX])
    onnx.checker.check_model(content, full_check=True)
    for value, name, shape in (
        (content.graph.input, "images", ["N", 1, 28, 28]),
        (content.graph.output, "probabilities", ["N", 10]),
    ):
        assert [each.name for each in value] == [name]
        tensor = value[0].type.tensor_type
        assert tensor.elem_type == onnx.TensorProto.FLOAT
        assert [dim.dim_param or dim.dim_value for dim in tensor.shape.dim] == shape
    assert {prop.key: prop.value for prop in content.metadata_props} == {"class_names": '["a", "b"]', "run": "one"}


def test_files_contain_no_local_paths(files):
    for content in files.values():
        assert str(Path(exported.__file__).parent.parent).encode() not in content
        assert b"site-packages" not in content


@pytest.mark.parametrize("name", [ONNX, TORCH])
def test_model_with_random_output_is_rejected(name, images):
    model = Layers(lambda inputs: inputs + torch.rand_like(inputs))
    with pytest.raises(ValueError, match=rf"{name}: not kept, it differs from PyTorch: of 100 test images \d+ have"):
        export(model, images, (name,))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inputs: inputs if inputs.sum() > 0 else -inputs, r"Layers: cannot be exported by torch\.export \("),
        (
            lambda inputs: inputs if inputs.shape[0] == 2 else 1 * inputs,
            r"Layers: cannot be exported by torch\.export \(",
        ),
        (lambda inputs: torch.linalg.svdvals(inputs).sum() + inputs, r"model\.onnx: cannot be exported by torch\.onnx"),
    ],
    ids=["control flow", "fixed batch size", "operator that ONNX lacks"],
)
def test_model_that_cannot_be_exported_is_rejected_in_a_line(function, message, images):
    with pytest.raises(ValueError, match=message) as raised:
        export(Layers(function), images, (ONNX,))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 330
    assert raised.value.__cause__ is not None  # HYDRA_FULL_ERROR=1 shows it


def test_model_of_other_classes_is_rejected(images):
    with pytest.raises(ValueError, match=r"Layers: has 5 outputs; only models of 10 classes"):
        exported.trace(Layers(lambda inputs: inputs, num_classes=5), 1.0)


def test_parity_counts_changed_classes_and_excepts_ties():
    reference = torch.tensor([[0.5, 0.5 - 4e-6, 4e-6], [0.6, 0.4, 0.0], [0.2, 0.3, 0.5]])
    labels = torch.tensor([1, 0, 2])
    swapped = reference.clone()
    swapped[0] = torch.tensor([0.5 - 4e-6, 0.5, 4e-6])
    tie = parity.compare(swapped, reference, labels)
    assert (tie.num_different, tie.num_ties, tie.accuracy, tie.is_equivalent) == (0, 1, 1.0, True)
    swapped[1] = torch.tensor([0.4, 0.6, 0.0])
    different = parity.compare(swapped, reference, labels)
    assert (different.num_different, different.num_ties, different.is_equivalent) == (1, 1, False)
    close = parity.compare(reference + torch.tensor([2e-5, 0, 0]), reference, labels)
    assert (close.num_different, close.is_equivalent) == (0, False)
    assert not parity.compare(reference * math.nan, reference, labels).is_equivalent
