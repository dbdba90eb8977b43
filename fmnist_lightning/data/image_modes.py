"""An image of any of Pillow's modes as 8-bit RGB, and its transparency."""

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The image in RGB, composited on white, and its alpha channel (mode L), None if it is opaque.

    Raises:
        ValueError: Pillow cannot convert the image's mode.
    """
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(to_8_bit(np.asarray(image), image.mode))
    if not image.has_transparency_data:
        try:
            return image.convert("RGB"), None
        except ValueError:
            raise ValueError(f"colour mode {image.mode} is not supported; save the image as RGB") from None
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return rgba.convert("RGB"), None
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB"), alpha


def to_8_bit(values: np.ndarray, mode: str) -> np.ndarray:
    """Scales values (H, W) of the modes I;16, I and F to 0 to 255.

    The range is 65535 in the mode I;16, otherwise the smallest of 1 (mode F), 255 and 65535 that holds all values, or
    their maximum.
    """
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    ranges = [65535] if ";16" in mode else [1, 255, 65535] if mode == "F" else [255, 65535]
    largest = max(values.max(initial=0), 0)
    full = next((limit for limit in ranges if largest <= limit), largest)
    return (values.clip(0) * (255 / full)).round().astype(np.uint8)
