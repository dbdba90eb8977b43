"""From a photo to a model's input, an image (28, 28) uint8 as in the dataset: white garment on black.

A plain background is removed by the steps with which the dataset's authors made it from product photos
(arXiv 1708.07747, section 2), any other background by segmentation. Size, position and intensity range then follow the
dataset: the longest side is 28 pixels, the garment is centred, and a white garment is bright, too.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from fmnist_lightning.data.backgrounds import TOLERANCE, Mask, Pixels, negate, remove_plain_background
from fmnist_lightning.data.image_files import LONGEST_SIDE
from fmnist_lightning.data.image_modes import to_rgb
from fmnist_lightning.data.segmentation import segment

SIDE = 28
MIN_TRANSPARENT = 0.05  # fraction of pixels from which a transparent background is taken for the garment's outline


class PreparedPhoto(NamedTuple):
    """A model's input and how it was made."""

    image: np.ndarray  # (28, 28) uint8, the model's input
    method: str  # unchanged, transparency, plain background or segmentation
    mask: Mask | None  # (H, W) bool, the garment in `photo`; None if unchanged
    photo: Image.Image  # the photo, upright, RGB, at most 560 pixels a side; the input itself if unchanged


def prepare_photo(photo: Image.Image) -> PreparedPhoto:
    """Turns a photo of one garment into a model's input; a grayscale image of 28x28 pixels stays unchanged.

    Raises:
        ValueError: no garment was found, or the mode is not supported.
        ModuleNotFoundError: the background is not plain, and OpenCV is not installed.
    """
    rgb, alpha = to_rgb(ImageOps.exif_transpose(photo))
    if rgb.size == (SIDE, SIDE) and alpha is None and is_gray(pixels := np.asarray(rgb)):
        return PreparedPhoto(pixels[:, :, 0].copy(), "unchanged", None, rgb.convert("L"))
    for image in (rgb, alpha):
        if image is not None:
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BOX, reducing_gap=2)
    colors = np.asarray(rgb)
    if alpha is not None and (np.asarray(alpha) < 128).mean() >= MIN_TRANSPARENT:
        method, mask = "transparency", np.asarray(alpha) > TOLERANCE
        values = negate(colors, mask)
    elif (plain := remove_plain_background(colors)) is not None:
        method, (mask, values) = "plain background", plain
    else:
        method, mask = "segmentation", segment(colors)
        values = negate(colors, mask)
    if not mask.any():
        raise ValueError("no garment found: nothing stands out from the background")
    middle = 1.0 if method == "plain background" else 0.5
    return PreparedPhoto(fit_to_input(values, mask, middle), method, mask, rgb)


def is_gray(pixels: Pixels) -> bool:
    """Whether the channels of pixels (H, W, 3) are equal."""
    return bool((pixels == pixels[:, :, :1]).all())


def fit_to_input(values: Pixels, mask: Mask, middle: float) -> Pixels:
    """The input (28, 28) uint8 of the garment's intensities (H, W) uint8 and its mask (H, W) bool; `middle` see below.

    The longest side becomes 28 pixels by subsampling. The garment is centred to half a pixel; which half, is chosen
    such that the most contrast remains, because an enlarged image of the dataset is restored so.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    garment = Image.fromarray(np.where(mask, values, 0).astype(np.float32))
    garment = garment.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    longest, shortest = max(garment.size), min(garment.size)
    pixel = longest / SIDE  # side of a pixel of the input, in pixels of the photo
    margin = math.ceil(pixel)
    canvas = Image.new("F", (longest + 2 * margin, longest + 2 * margin))
    left, top = (canvas.width - garment.width) // 2, (canvas.height - garment.height) // 2
    canvas.paste(garment, (left, top))
    x, y = left + (garment.width - longest) / 2, top + (garment.height - longest) / 2
    boxes = [(x, y, x + longest, y + longest)]
    if shortest < (SIDE - 1) * pixel:  # otherwise a part would be outside
        x, y = (x - pixel / 2, y) if garment.height > garment.width else (x, y - pixel / 2)
        boxes.append((x, y, x + longest, y + longest))
    candidates = [subsample(canvas, box, middle) for box in boxes]
    return max(candidates, key=lambda image: np.square(image).sum()).round().astype(np.uint8)


def subsample(image: Image.Image, box: tuple[float, float, float, float], middle: float) -> np.ndarray:
    """The box of an image in 28x28 pixels: of each the mean of its middle ninth, with the weight `middle`, and of all.

    The mean of all blurs edges, which the dataset's authors sharpened; the middle alone amplifies a photo's noise.
    """
    ninths = np.asarray(image.resize((3 * SIDE, 3 * SIDE), Image.Resampling.BOX, box=box))
    areas = ninths.reshape(SIDE, 3, SIDE, 3)
    return np.asarray((1 - middle) * areas.mean(axis=(1, 3)) + middle * areas[:, 1, :, 1])
