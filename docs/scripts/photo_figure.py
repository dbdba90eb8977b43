"""Makes docs/images/photos.png, from drawn photos to model inputs: python docs/scripts/photo_figure.py [DIRECTORY]."""

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fmnist_lightning.data.photos import prepare_photo

matplotlib.use("Agg")
import matplotlib.pyplot as plt

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIZE = 400  # pixels a side
SHIRT = [(-0.25, -0.8), (0.25, -0.8), (0.85, -0.35), (0.68, -0.1), (0.42, -0.3), (0.42, 0.8)]
TROUSERS = [(0, -0.85), (0.36, -0.85), (0.5, 0.85), (0.16, 0.85), (0.03, -0.25)]
DRESS = [(-0.15, -0.85), (0.2, -0.85), (0.16, -0.5), (0.22, -0.15), (0.55, 0.85)]


def main() -> None:
    """Draws the figure."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    rng = np.random.default_rng(0)
    cutout = draw(np.zeros((SIZE, SIZE, 3)), TROUSERS, (60, 90, 150), rng)
    outline = draw(np.zeros((SIZE, SIZE, 3)), TROUSERS, (255, 255, 255), rng).convert("L")
    cutout.putalpha(outline.point(lambda value: 255 * (value > 60)))
    photos = {
        "product photo": draw(plain((255, 255, 255)), SHIRT, (40, 60, 110), rng),
        "coloured paper": draw(plain((190, 60, 70)), DRESS, (30, 30, 35), rng, (0.16, -0.08)),
        "without background": cutout,
        "white on dark wood": draw(wood((92, 58, 38), rng), SHIRT, (238, 236, 230), rng, (0.05, 0.08)),
        "black on a bed": draw(cloth((226, 222, 214), rng), DRESS, (28, 28, 34), rng),
        "jeans on wood": draw(wood((196, 150, 96), rng), TROUSERS, (48, 66, 112), rng, (-0.05, 0)),
        "white on white": draw(cloth((226, 222, 214), rng), SHIRT, (232, 230, 226), rng),
    }
    figure, axes = plt.subplots(3, len(photos), figsize=(11, 4.9), squeeze=False)
    for column, (name, photo) in zip(axes.T, photos.items(), strict=True):
        prepared = prepare_photo(photo)
        assert prepared.mask is not None
        garment = np.where(prepared.mask[:, :, None], np.asarray(prepared.photo), (255, 0, 255)).astype(np.uint8)
        for axis, picture in zip(column, (checkered(photo), garment, prepared.image), strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        column[0].set_title(name, fontsize=9)
        column[1].set_xlabel(prepared.method, fontsize=9)
    for axis, name in zip(axes[:, 0], ("photo", "garment", "input, 28x28"), strict=True):
        axis.set_ylabel(name, fontsize=9)
    figure.tight_layout(pad=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    Image.open(buffer).convert("RGB").quantize(256).save(directory / "photos.png", optimize=True)


def plain(color: tuple[int, int, int]) -> np.ndarray:
    """A background (SIZE, SIZE, 3) of one colour."""
    return np.full((SIZE, SIZE, 3), color, float)


def wood(color: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Planks with grain, a light from the top left."""
    y, x = np.mgrid[:SIZE, :SIZE]
    planks = rng.normal(0, 10, 8)[x // 55] - 45 * (x % 55 < 2)
    grain = 7 * np.sin(x / 4 + 2 * np.sin(y / 60)) + rng.normal(0, 6, (SIZE, SIZE))
    return plain(color) + (planks + grain + 20 - (x + y) / 16)[:, :, None]


def cloth(color: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A sheet with folds."""
    y, x = np.mgrid[:SIZE, :SIZE]
    folds = 9 * np.sin((x + 0.6 * y) / 38) + 6 * np.sin((x - 1.4 * y) / 61 + 1)
    return plain(color) + (folds + rng.normal(0, 4, (SIZE, SIZE)))[:, :, None]


def draw(
    background: np.ndarray,
    half: list[tuple[float, float]],
    color: tuple[int, int, int],
    rng: np.random.Generator,
    shift: tuple[float, float] = (0, 0),
) -> Image.Image:
    """A photo of a symmetric garment, whose corners on the right are given in units of half a side."""
    mirrored = [(-x, y) for x, y in reversed(half) if x > 0]
    corners = [(SIZE / 2 * (1 + 0.95 * x + shift[0]), SIZE / 2 * (1 + 0.95 * y + shift[1])) for x, y in half + mirrored]
    outline = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(outline).polygon(corners, fill=255)
    share = np.asarray(outline.filter(ImageFilter.GaussianBlur(1.2)))[:, :, None] / 255
    y, x = np.mgrid[:SIZE, :SIZE]
    creases = 8 * np.sin(x / 17 + 3 * np.sin(y / 90)) - 12 * (np.abs(x - SIZE / 2) < 3) + rng.normal(0, 3, (SIZE, SIZE))
    photo = background * (1 - share) + (np.array(color) + creases[:, :, None]) * share
    return Image.fromarray(photo.clip(0, 255).astype(np.uint8))


def checkered(photo: Image.Image) -> np.ndarray:
    """The photo's pixels; gray squares show where it is transparent."""
    y, x = np.mgrid[:SIZE, :SIZE] // 20
    squares = Image.fromarray(np.where((x + y) % 2, 200, 255).astype(np.uint8)).convert("RGBA")
    return np.asarray(Image.alpha_composite(squares, photo.convert("RGBA")).convert("RGB"))


if __name__ == "__main__":
    main()
