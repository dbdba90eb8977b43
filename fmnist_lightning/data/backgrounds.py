"""Removes a plain background of any colour, as in product photos.

The dataset's authors trimmed edges whose colour is within 5 % of the corner pixel's and negated the intensities, which
presumes a white background (arXiv 1708.07747, section 2). On another colour, a garment's intensity is its distance to
that colour, if all its pixels are mixtures of the background's colour and another one; otherwise it is negated, too,
unless it is darker at its rim than inside, as the dataset's images are.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
TOLERANCE = 0.05 * 255  # difference to the background's colour in one channel
NOISE_FLOOR = 4.0  # a smaller difference is noise; JPEG has some at the garment's edges only
TINT_NOISE = 4  # times the noise of the brightness: JPEG stores hues at half the resolution
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's mode L
MAX_NOISE = 8.0  # in the border; more is a texture, a fold or a shadow
MIN_MEAN = 114  # of a garment's negated intensities, so that a white one is bright, too; the dataset's lower quartile
MAX_GARMENT_IN_BORDER = 0.25  # fraction of the border that a garment may cover


def remove_plain_background(colors: Pixels) -> tuple[Mask, Pixels] | None:
    """The garment's mask (H, W) and intensities (H, W) in colors (H, W, 3); None if the background is not plain.

    A photo of one colour has an empty mask.
    """
    border = border_pixels(colors).astype(np.float32)
    background = np.median(border, axis=0)
    differences = np.abs(border - background).max(axis=1)
    is_background = differences <= TOLERANCE
    if is_background.mean() < 1 - MAX_GARMENT_IN_BORDER:
        return None
    noise = np.percentile(differences[is_background], 99)
    if noise > MAX_NOISE:
        return None
    offsets = colors - background
    brightness = offsets @ LUMA
    tint = np.abs(offsets - brightness[:, :, None]).max(axis=2)
    limit = max(NOISE_FLOOR, 1.5 * noise)
    mask = (np.abs(brightness) > limit) | (tint > TINT_NOISE * limit)
    mask = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MedianFilter(3))) > 0
    values = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return mask, values.astype(np.uint8)
    if background.min() >= 255 - TOLERANCE:
        values[mask] = 255 - colors[mask] @ LUMA
    else:
        lengths = lengths_along_ray(offsets[mask])
        if lengths is not None:
            values[mask] = lengths
        if lengths is None or rim_to_inside(values, mask) > 1.05:  # a garment that does not fade into the background
            return cut_out(colors, mask, np.abs(offsets).max(axis=2))
    brightest = max(1, float(np.percentile(values[mask], 99.5)))  # 255 in each image of the dataset
    return mask, (values * (255 / brightest)).clip(0, 255).astype(np.uint8)


def cut_out(colors: Pixels, mask: Mask, differences: NDArray[np.float32]) -> tuple[Mask, Pixels]:
    """The mask without the halo of JPEG files, and intensities of the dataset's polarity, dark at the rim."""
    clear: Mask = np.asarray(differences > max(TOLERANCE, 0.25 * float(np.median(differences[mask]))))
    mask = mask & (clear | is_enclosed(clear))
    gray = colors @ LUMA
    return mask, gray.astype(np.uint8) if rim_to_inside(gray, mask) < 0.9 else negate(colors, mask)


def negate(colors: Pixels, mask: Mask) -> Pixels:
    """Intensities (H, W) of the garment in colors (H, W, 3), negated as in the dataset; their mean is at least 114."""
    values = 255 - np.asarray(Image.fromarray(colors).convert("L")).astype(np.float32)
    values += max(0, MIN_MEAN - values[mask].mean()) if mask.any() else 0
    return values.clip(1, 255).astype(np.uint8)


def rim_to_inside(values: NDArray[np.float32], mask: Mask) -> float:
    """Mean of values (H, W) in the outermost 1/28 of a garment, divided by the mean of the others.

    It is below 0.95 in 98 % of the dataset's images, and above in 95 % of them if they are negated.
    """
    side = max(1, round(max(mask.any(axis=0).sum(), mask.any(axis=1).sum()) / 28))
    wide = np.pad(mask, side)
    inside = mask & wide[: -2 * side, side:-side] & wide[2 * side :, side:-side]
    inside &= wide[side:-side, : -2 * side] & wide[side:-side, 2 * side :]
    return float(values[mask & ~inside].mean() / max(1, values[inside].mean())) if inside.any() else 1.0


def is_enclosed(mask: Mask) -> Mask:
    """Pixels (H, W) that have pixels of the mask (H, W) above, below, left and right of them."""
    up = np.logical_or.accumulate
    sides = up(mask, 0), up(mask[::-1], 0)[::-1], up(mask, 1), up(mask[:, ::-1], 1)[:, ::-1]
    return np.asarray(np.logical_and.reduce(sides))


def border_pixels(colors: Pixels) -> Pixels:
    """Pixels (N, 3) of the outermost 1 % at each edge of colors (H, W, 3), at least one."""
    strip = max(1, round(0.01 * max(colors.shape[:2])))
    edges = colors[:strip], colors[-strip:], colors[:, :strip], colors[:, -strip:]
    return np.concatenate([edge.reshape(-1, 3) for edge in edges])


def lengths_along_ray(offsets: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Lengths (N,) of offsets (N, 3) from the background's colour if they all have nearly one direction, else None."""
    direction = offsets.mean(axis=0)
    direction /= max(float(np.linalg.norm(direction)), 1e-6)
    lengths = offsets @ direction
    error = np.linalg.norm(offsets - lengths[:, None] * direction, axis=1).mean()
    is_ray = error < 0.12 * np.abs(lengths).mean() and lengths.mean() > 0.9 * np.abs(lengths).mean()
    return lengths if is_ray else None
