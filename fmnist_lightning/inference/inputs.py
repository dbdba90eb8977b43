"""What a predictor takes as images: photos as files, PIL images or colour arrays, and arrays of 28x28 pixels.

The latter are in the dataset's format: grayscale, white garment on black. Whatever could mean two things is rejected.
"""

from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

EXPECTED = (
    "expected are paths, PIL images, colour photos (height, width, 3) uint8, or images in the dataset's format, "
    "(28, 28) or (N, 28, 28), uint8 or floating-point from 0 to 1"
)


def to_images(images: Any) -> Tensor:
    """Images (N, 28, 28) uint8, the input of a model.

    Args:
        images: one image or a list of images, each a path, a PIL image or a colour array (height, width, 3 or 4) uint8
            (photos, see `data.photos.prepare_photo`), or an array or tensor in the dataset's format, (28, 28) or
            (1, 28, 28), uint8 or floating-point from 0 to 1. An array or tensor may also be a batch of the latter,
            (N, 28, 28) or (N, 1, 28, 28), or of colour photos.

    Raises:
        ValueError: an image is ambiguous, damaged or none; the message says what is expected, in a list also where.
        OSError: a file cannot be read.
    """
    if isinstance(images, Tensor) and images.dtype == torch.uint8 and images.shape[1:] == (28, 28):
        return images
    if not isinstance(images, list | tuple):
        return _convert(images, "images")
    converted = []
    for index, image in enumerate(images):
        each = _convert(image, f"images[{index}]")
        if len(each) != 1:
            raise ValueError(f"images[{index}]: {_describe(image)}; an element of a list is one image, not {len(each)}")
        converted.append(each)
    return torch.cat(converted) if converted else torch.empty(0, 28, 28, dtype=torch.uint8)


def _convert(image: Any, name: str) -> Tensor:
    """The images (N, 28, 28) uint8 of one element; an error begins with `name`."""
    if isinstance(image, str | PathLike):
        from fmnist_lightning.data.image_files import read_image

        try:
            return _photo(read_image(str(image)))
        except ValueError as error:
            raise ValueError(f"{name}: {image}: {error}") from error
    if isinstance(image, Image.Image):
        return _photo(image)
    if not isinstance(image, np.ndarray | Tensor):
        raise ValueError(f"{name}: {type(image).__name__}; {EXPECTED}")
    if isinstance(image, Tensor):
        array = (image.detach().float() if image.is_floating_point() else image).cpu().numpy()
    else:
        array = image
    if array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[-1] in (3, 4):
        photos = array if array.ndim == 4 else array[None]
        return torch.cat([_photo(Image.fromarray(photo)) for photo in photos])
    is_channel_first = array.ndim == 4 and array.shape[1] == 1
    if array.shape[-2:] != (28, 28) or not (array.ndim in (2, 3) or is_channel_first):
        raise ValueError(f"{name}: {_describe(image)}; {EXPECTED}")
    if np.issubdtype(array.dtype, np.floating):
        if not ((array >= 0) & (array <= 1)).all():  # NaN is neither
            raise ValueError(f"{name}: {_describe(image)} with values outside of 0 to 1; {EXPECTED}")
        array = (array.astype(np.float32) * 255).round().astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f"{name}: {_describe(image)}; {EXPECTED}")
    return torch.tensor(array).reshape(-1, 28, 28)


def _photo(photo: Image.Image) -> Tensor:
    from fmnist_lightning.data.photos import prepare_photo  # needs the extra photos

    return torch.tensor(prepare_photo(photo).image).unsqueeze(0)


def _describe(image: Any) -> str:
    kind = "tensor" if isinstance(image, Tensor) else "array"
    return f"{kind} {tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
