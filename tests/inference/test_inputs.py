import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fmnist_lightning.data.photos import prepare_photo
from fmnist_lightning.inference.inputs import to_images

BATCH = (torch.arange(3 * 784) % 256).to(torch.uint8).view(3, 28, 28)  # every pixel value


def photo(colour="white"):
    """A dark shirt on a plain background."""
    image = Image.new("RGB", (120, 160), colour)
    ImageDraw.Draw(image).polygon(
        [(30, 30), (90, 30), (110, 70), (85, 70), (85, 140), (35, 140), (35, 70), (10, 70)], "navy"
    )
    return image


@pytest.mark.parametrize(
    "same",
    [
        BATCH,
        BATCH.numpy(),
        BATCH.float() / 255,
        BATCH.double().numpy() / 255,
        (BATCH.float() / 255).half(),
        (BATCH.float() / 255).unsqueeze(1).requires_grad_(),
        BATCH.unsqueeze(1).numpy(),
        list(BATCH),
        tuple(BATCH.numpy()),
        [BATCH[:1], BATCH[1].numpy() / 255, Image.fromarray(BATCH[2].numpy())],
        np.broadcast_to(BATCH.numpy(), BATCH.shape),  # not writable
        np.asfortranarray(BATCH.numpy()),
    ],
)
def test_images_in_the_datasets_format_are_unchanged(same):
    assert torch.equal(to_images(same), BATCH)


@pytest.mark.parametrize(
    "single", [BATCH[0], BATCH[0].numpy(), BATCH[0].numpy() / 255, Image.fromarray(BATCH[0].numpy())]
)
def test_single_image_is_a_batch_of_one(single):
    assert torch.equal(to_images(single), BATCH[:1])


def test_empty_batches_stay_empty():
    for empty in ([], BATCH[:0], BATCH[:0].float()):
        assert to_images(empty).shape == (0, 28, 28)


def test_photos_are_prepared(tmp_path):
    first, second = photo(), photo("beige")
    path = tmp_path / "second.png"
    second.save(path)
    expected = torch.stack([torch.tensor(prepare_photo(each).image) for each in (first, second)])
    arrays = np.stack([np.asarray(first), np.asarray(second)])
    for same in ([first, path], [np.asarray(first), str(path)], arrays, torch.tensor(arrays)):
        assert torch.equal(to_images(same), expected)
    assert torch.equal(to_images(str(path)), expected[1:])
    assert torch.equal(to_images(first.convert("RGBA")), expected[:1])


FORMAT = r"; expected are paths, PIL images, colour photos .* or images in the dataset's format, .*"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (BATCH.float(), r"images: tensor \(3, 28, 28\) float32 with values outside of 0 to 1"),
        (np.full((28, 28), np.nan), r"images: array \(28, 28\) float64 with values outside of 0 to 1"),
        (BATCH.long(), r"images: tensor \(3, 28, 28\) int64"),
        (BATCH > 0, r"images: tensor \(3, 28, 28\) bool"),
        (torch.zeros(3, 64, 64, dtype=torch.uint8), r"images: tensor \(3, 64, 64\) uint8"),
        (np.zeros((64, 64, 3)), r"images: array \(64, 64, 3\) float64"),
        (np.zeros((100, 80), np.uint8), r"images: array \(100, 80\) uint8"),
        (torch.zeros(2, 3, 28, 28), r"images: tensor \(2, 3, 28, 28\) float32"),
        (torch.zeros(2, 784), r"images: tensor \(2, 784\) float32"),
        (torch.zeros(2, 1, 1, 28, 28), r"images: tensor \(2, 1, 1, 28, 28\) float32"),
        (5, r"images: int"),
        ([BATCH[0], None], r"images\[1\]: NoneType"),
        ([BATCH[0], BATCH.long()[0]], r"images\[1\]: tensor \(28, 28\) int64"),
    ],
)
def test_ambiguous_input_is_rejected_with_what_is_expected(images, message):
    with pytest.raises(ValueError, match=f"^{message}{FORMAT}$"):
        to_images(images)


def test_batch_in_a_list_is_rejected():
    with pytest.raises(
        ValueError, match=r"^images\[0\]: tensor \(3, 28, 28\) uint8; an element of a list is one image, not 3$"
    ):
        to_images([BATCH])


def test_file_that_is_no_image_is_rejected_by_name(tmp_path):
    path = tmp_path / "shirt.jpg"
    path.write_text("<svg/>")
    with pytest.raises(ValueError, match=rf"^images\[1\]: {re.escape(str(path))}: not an image"):
        to_images([BATCH[0], path])
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        to_images(str(tmp_path / "missing.jpg"))
