"""Measures photos of plain background: python docs/scripts/enlarged_images.py RUN [NUM].

Enlarges NUM test images (default 100, drawn with seed 100) of the run's dataset to 280x280 pixels by nearest neighbour,
bilinear and bicubic interpolation, puts each at a random position of a photo of 300 to 799 pixels, and saves it as PNG
and as JPEG of quality 75. Prints the fraction of predictions that are those of the original image, by construction.
"""

import io
import sys
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from fmnist_lightning import load_run
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.inference.run_data import load_data
from fmnist_lightning.runs.run import Run

SIDE = 280
SEED = 100
RESAMPLING = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
FORMATS = ("PNG", "JPEG")
WHITE, BLACK, RED, GREEN = (255, 255, 255), (0, 0, 0), (200, 30, 40), (120, 190, 120)
BLUE, BEIGE, DARK, PINK = (30, 60, 140), (222, 205, 180), (25, 28, 35), (240, 150, 170)
VISIBLE = 10  # intensity from which a pasted image covers the background
Compose = Callable[[np.ndarray], np.ndarray]  # intensities (H, W, 1) from 0 to 255 to colours (H, W, 3)


def mixed(garment: tuple[int, ...], background: tuple[int, ...]) -> Compose:
    """Background and garment in proportion to the intensity."""
    return lambda values: np.array(background) * (1 - values / 255) + np.array(garment) * (values / 255)


def pasted(background: tuple[int, ...], is_negated: bool = False) -> Compose:
    """The gray image, or its negative, where it is brighter than 10."""
    return lambda values: np.where(values > VISIBLE, 255 - values if is_negated else values, np.array(background))


CONSTRUCTIONS = {
    "black garment mixed with white": mixed(BLACK, WHITE),
    "black garment mixed with red": mixed(BLACK, RED),
    "white garment mixed with green": mixed(WHITE, GREEN),
    "pink garment mixed with blue": mixed(PINK, BLUE),
    "white garment mixed with dark gray": mixed(WHITE, DARK),
    "image pasted on dark gray": pasted(DARK),
    "image pasted on blue": pasted(BLUE),
    "negated image pasted on red": pasted(RED, is_negated=True),
    "negated image pasted on beige": pasted(BEIGE, is_negated=True),
    "negated image pasted on dark gray": pasted(DARK, is_negated=True),
}


def photograph(
    image: np.ndarray, resampling: Image.Resampling, compose: Compose, rng: np.random.Generator
) -> Image.Image:
    """A photo of an enlarged image (28, 28) uint8."""
    height, width = rng.integers(300, 800, 2)
    top, left = rng.integers(0, height - SIDE + 1), rng.integers(0, width - SIDE + 1)
    values = np.zeros((height, width, 1))
    values[top : top + SIDE, left : left + SIDE, 0] = Image.fromarray(image).resize((SIDE, SIDE), resampling)
    return Image.fromarray(compose(values).clip(0, 255).round().astype(np.uint8))


def saved(photo: Image.Image, file_format: str) -> Image.Image:
    """The photo after it was saved and read."""
    file = io.BytesIO()
    photo.save(file, file_format, quality=75)
    return Image.open(file)


def main() -> None:
    """Prints the rows of the table in docs/photos.md."""
    run = Run.existing(sys.argv[1])
    images = load_data(run, run.read_config()).images["test"]
    num = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    images = images[np.random.default_rng(SEED).choice(len(images), num, replace=False)]
    predictor = load_run(run.folder, accelerator="cpu")
    expected = predictor.predict(images).argmax(dim=1)
    print("| photo | mean of the variants | PNG | JPEG | worst variant |\n|---|---|---|---|---|")
    for name, compose in CONSTRUCTIONS.items():
        unchanged = torch.zeros(len(FORMATS), len(RESAMPLING))
        for column, resampling in enumerate(RESAMPLING):
            rng = np.random.default_rng(SEED)
            photos = [photograph(image, resampling, compose, rng) for image in images.numpy()]
            for row, file_format in enumerate(FORMATS):
                inputs = to_images([saved(photo, file_format) for photo in photos])
                predicted = predictor.predict(inputs).argmax(dim=1)
                unchanged[row, column] = (predicted == expected).float().mean()
        png, jpeg = unchanged.mean(dim=1).tolist()
        mean, worst = unchanged.mean().item(), unchanged.min().item()
        print(f"| {name} | {mean:.3f} | {png:.3f} | {jpeg:.3f} | {worst:.3f} |", flush=True)


if __name__ == "__main__":
    main()
