"""From a photo to a model's input, an image (28, 28) uint8 as in the dataset: white garment on black.

A plain background is removed by the steps with which the dataset's authors made it from product photos
(arXiv 1708.07747, section 2). Any other background is removed by segmentation with OpenCV's GrabCut.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

SIDE = 28
WORK_SIDE = 112  # longest side for the segmentation, in pixels: four times the input
BORDER = 0.03  # fraction of the longest side at each edge that is taken for background


class PreparedPhoto(NamedTuple):
    """A model's input and how it was made."""

    image: np.ndarray  # (28, 28) uint8, the model's input
    method: str  # unchanged, plain background or segmentation
    mask: np.ndarray | None  # (H, W) bool, the garment in the photo scaled to 112 pixels; None if unchanged
    photo: Image.Image  # the photo, upright, scaled to 112 pixels, RGB; the input itself if unchanged


def prepare_photo(photo: Image.Image) -> PreparedPhoto:
    """Turns a photo into a model's input; a grayscale image of 28x28 pixels is one already and stays unchanged."""
    if photo.size == (SIDE, SIDE) and photo.mode == "L":
        return PreparedPhoto(np.asarray(photo), "unchanged", None, photo)
    photo = ImageOps.exif_transpose(photo).convert("RGB")
    photo.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.BOX, reducing_gap=2)
    colors = np.asarray(photo)
    mask = segment(colors)
    gray = np.asarray(photo.convert("L"))
    return PreparedPhoto(fit_to_input(255 - gray, mask), "segmentation", mask, photo)


def segment(colors: np.ndarray) -> np.ndarray:
    """The garment (H, W) bool in colors (H, W, 3) uint8, by GrabCut: the border is background, the rest unknown."""
    import cv2

    height, width = colors.shape[:2]
    strip = max(2, round(BORDER * max(height, width)))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[strip:-strip, strip:-strip] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(colors[:, :, ::-1].copy(), labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    mask = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if mask.mean() < 0.05:
        mask = np.zeros((height, width), bool)
        mask[height // 10 : -height // 10, width // 7 : -width // 7] = True
    return mask


def fit_to_input(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Crops values (H, W) uint8 to the mask and scales the longest side to 28 pixels, centred on black."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    garment = Image.fromarray(np.where(mask, np.maximum(values, 1), 0)[crop].astype(np.uint8))
    scale = SIDE / max(garment.size)
    garment = garment.resize([max(1, round(scale * side)) for side in garment.size], Image.Resampling.BOX)
    image = Image.new("L", (SIDE, SIDE))
    image.paste(garment, ((SIDE - garment.width) // 2, (SIDE - garment.height) // 2))
    return np.asarray(image)
