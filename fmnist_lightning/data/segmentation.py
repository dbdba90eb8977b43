"""Separates a garment from any background with OpenCV's GrabCut."""

import numpy as np

from fmnist_lightning.data.backgrounds import Mask, Pixels

WORK_SIDE = 112  # longest side in pixels: four times the model's input
BORDER = 0.02  # fraction of the longest side at each edge that is taken for background
MIN_SIDE = 8  # pixels
MIN_AREA = 0.08  # fraction of the photo; less is not the garment


def segment(colors: Pixels) -> Mask:
    """The garment (H, W) in colors (H, W, 3).

    Raises:
        ModuleNotFoundError: OpenCV is not installed.
        ValueError: the photo is too narrow.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        raise ModuleNotFoundError("photos need OpenCV: pip install 'fmnist_lightning[photos]'", name="cv2") from None
    height, width = colors.shape[:2]
    scale = min(1, WORK_SIDE / max(height, width))
    size = round(width * scale), round(height * scale)
    if min(size) < MIN_SIDE:
        raise ValueError(f"no garment found: {width}x{height} pixels are too narrow")
    small = cv2.cvtColor(cv2.resize(colors, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    distance = distance_to_center(*small.shape[:2])
    strip = max(2, round(BORDER * max(size)))
    labels = np.full(distance.shape, cv2.GC_BGD, np.uint8)
    labels[strip:-strip, strip:-strip] = cv2.GC_PR_FGD
    mask = keep_central(grab_cut(small, labels), distance)
    if mask.mean() < MIN_AREA:
        labels = np.where(distance < 0.85, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        labels[distance < 0.27] = cv2.GC_FGD
        labels[[0, -1]] = labels[:, [0, -1]] = cv2.GC_BGD
        mask = keep_central(grab_cut(small, labels), distance)
    return np.asarray(cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR)) >= 128


def distance_to_center(height: int, width: int) -> np.ndarray:
    """Distances (H, W) of pixels to the centre, 1 at the middle of each edge."""
    y, x = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    return np.hypot(y[:, None], x[None, :])


def grab_cut(colors: Pixels, labels: Pixels) -> Mask:
    """GrabCut's foreground (H, W) in colors (H, W, 3), from initial labels (H, W); the same in each call."""
    import cv2

    cv2.setRNGSeed(0)
    cv2.grabCut(colors, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def keep_central(mask: Mask, distance: np.ndarray) -> Mask:
    """Removes specks and parts far from the centre."""
    import cv2

    opened = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    )
    parts, labels = cv2.connectedComponents(opened, connectivity=4)
    if parts == 1:
        return np.zeros_like(mask)
    weights = np.bincount(labels.ravel(), np.exp(-((distance / 0.7) ** 2)).ravel(), parts)
    weights[0] = 0
    return np.asarray((weights > 0.25 * weights.max())[labels])
