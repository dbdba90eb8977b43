"""Makes docs/images/photo_augmentation.png: python docs/scripts/augmented_images.py.

A row per class: an image of the dataset, eight augmented images made from it, and three outliers.
"""

from pathlib import Path

import torch
from PIL import Image

from fmnist_lightning import compose
from fmnist_lightning.data import archives
from fmnist_lightning.data.photo_augmentation import OUTLIERS, UNCHANGED, augment_for_photos

PICTURE = Path(__file__).resolve().parent.parent / "images" / "photo_augmentation.png"
NUM_AUGMENTED, NUM_OUTLIERS, ZOOM, GAP = 8, 3, 2, 4  # images, images, screen pixels per pixel, pixels


def main() -> None:
    """Writes the picture."""
    torch.manual_seed(0)
    data = compose("data=fashion_mnist").data
    images, labels, *_ = archives.load(Path(data.root), list(data.mirrors))
    rows = []
    for label in range(10):
        chosen = (labels == label).nonzero()[:100, 0]
        batch = chosen[:1].expand(100)  # the same image, in each part of a batch
        augmented, _ = augment_for_photos(images[batch], labels[batch])
        outliers, _ = augment_for_photos(images[chosen], labels[chosen])
        first, last = round(100 * UNCHANGED), round(100 * (1 - OUTLIERS))
        shown = [images[batch[:1]], augmented[first : first + NUM_AUGMENTED], outliers[last : last + NUM_OUTLIERS]]
        rows.append(torch.cat([_side_by_side(part) for part in shown], dim=1))
    picture = Image.fromarray(torch.cat(rows).numpy())
    picture.resize((ZOOM * picture.width, ZOOM * picture.height), Image.Resampling.NEAREST).save(PICTURE, optimize=True)


def _side_by_side(images: torch.Tensor) -> torch.Tensor:
    """One image (28, N * 28 + GAP) of images (N, 28, 28), with white space on the right."""
    return torch.cat([images.transpose(0, 1).reshape(28, -1), torch.full((28, GAP), 255, dtype=torch.uint8)], dim=1)


if __name__ == "__main__":
    main()
