"""Draws synthetic images of ten classes of garments from random outlines.

Each class is a few polygons with random widths and lengths, which are rotated, scaled, shifted, mirrored, shaded and
textured. Upper garments differ only in sleeves, collar and opening, shoes only in shaft and straps, so that a network
without weight sharing (the ANN) confuses what convolutions tell apart.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CANVAS = 56  # pixels; drawn at twice the final 28 and averaged down
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Polygon = tuple[list[tuple[float, float]], float]  # corners, x right and y down from -1 to 1; tone from 0 to 1


def draw(num: int, seed: int) -> tuple[Images, Labels]:
    """Draws `num` garments: images (num, 28, 28) and labels (num,), in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(num, dtype=np.int64) % len(_OUTLINES))
    images = np.stack([_garment(label, rng) for label in labels])
    for start in range(0, num, 1000):  # a texture for all at once would take eight times the images' memory
        part = images[start : start + 1000]
        textured = (part + rng.normal(0, 25, size=part.shape)).clip(1, 255)
        images[start : start + 1000] = np.where(part > 0, textured, 0)
    return images, labels


def _garment(label: int, rng: Generator) -> Images:
    turn, scale = rng.normal(0, 0.12), rng.uniform(0.7, 0.95)
    right, down = rng.normal(0, 0.08, 2)
    mirror = rng.choice((-1, 1))
    shade = rng.uniform(70, 250)
    cos, sin = scale * np.cos(turn) * CANVAS / 2, scale * np.sin(turn) * CANVAS / 2
    image = Image.new("L", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(image)
    for corners, tone in _OUTLINES[label](rng):
        transformed = [
            (
                cos * mirror * x - sin * y + (1 + right) * CANVAS / 2,
                sin * mirror * x + cos * y + (1 + down) * CANVAS / 2,
            )
            for x, y in corners
        ]
        pen.polygon(transformed, fill=int(shade * tone))
    return np.asarray(image.resize((28, 28), Image.Resampling.BOX))


def _box(left: float, top: float, right: float, bottom: float, tone: float) -> Polygon:
    return [(left, top), (right, top), (right, bottom), (left, bottom)], tone


def _top(rng: Generator, sleeve: float, length: float) -> list[Polygon]:
    """Torso and two sleeves; sleeve 0 ends at the shoulder, 1 at the hem."""
    shoulder, hem = rng.uniform(0.4, 0.55), rng.uniform(0.35, 0.6)
    cuff, width = shoulder + rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.25)
    end = -0.85 + sleeve * 1.5
    tone = rng.uniform(0.75, 1)
    torso: Polygon = ([(-shoulder, -0.85), (shoulder, -0.85), (hem, length), (-hem, length)], 1)
    arms: list[Polygon] = [
        ([(side * shoulder, -0.85), (side * cuff, end), (side * (cuff - width), end), (side * 0.3, -0.4)], tone)
        for side in (-1, 1)
    ]
    return [*arms, torso]


def _t_shirt(rng: Generator) -> list[Polygon]:
    return [*_top(rng, rng.uniform(0.2, 0.45), rng.uniform(0.6, 0.9)), _box(-0.2, -0.85, 0.2, -0.75, 0)]


def _trouser(rng: Generator) -> list[Polygon]:
    waist, ankle, gap = rng.uniform(0.25, 0.4), rng.uniform(0.15, 0.3), rng.uniform(0.02, 0.15)
    return [([(0, -0.9), (s * waist, -0.9), (s * (gap + ankle), 0.95), (s * gap, 0.95), (0, -0.3)], 1) for s in (-1, 1)]


def _pullover(rng: Generator) -> list[Polygon]:
    return _top(rng, rng.uniform(0.8, 1.1), rng.uniform(0.6, 0.85))


def _dress(rng: Generator) -> list[Polygon]:
    bust, waist, hem = rng.uniform(0.2, 0.4), rng.uniform(0.15, 0.3), rng.uniform(0.25, 0.6)
    side = [(bust, -0.95), (waist, -0.2), (hem, 0.95)]
    dress: Polygon = ([*side, *[(-x, y) for x, y in reversed(side)]], 1)
    return [*(_top(rng, rng.uniform(0.1, 0.9), -0.3) if rng.random() < 0.25 else []), dress]


def _coat(rng: Generator) -> list[Polygon]:
    opening = rng.uniform(-0.08, 0.08)
    buttons = _box(opening, -0.85, opening + 0.07, 0.95, 0.3)
    return [*_top(rng, rng.uniform(0.9, 1.15), rng.uniform(0.75, 0.95)), buttons]


def _sole(rng: Generator, tone: float) -> Polygon:
    return _box(-0.9, 0.4, rng.uniform(0.8, 0.95), rng.uniform(0.5, 0.65), tone)


def _sandal(rng: Generator) -> list[Polygon]:
    straps: list[Polygon] = []
    for _ in range(rng.integers(2, 5)):
        x, lean = rng.uniform(-0.8, 0.6), rng.uniform(-0.3, 0.3)
        straps.append(([(x, 0.45), (x + 0.12, 0.45), (x + 0.12 + lean, -0.2), (x + lean, -0.2)], rng.uniform(0.6, 1)))
    return [*straps, _sole(rng, 1)]


def _shirt(rng: Generator) -> list[Polygon]:
    collar: Polygon = ([(-0.25, -0.95), (0, -0.6), (0.25, -0.95)], rng.uniform(0.4, 0.7))
    buttons = [_box(-0.04, y, 0.04, y + 0.08, 0.35) for y in np.arange(-0.45, 0.6, 0.25)]
    return [*_top(rng, rng.choice((0.35, 0.95)) + rng.normal(0, 0.08), rng.uniform(0.6, 0.9)), collar, *buttons]


def _sneaker(rng: Generator) -> list[Polygon]:
    heel, toe = rng.uniform(-0.2, 0.05), rng.uniform(0.1, 0.3)
    upper = [(-0.9, heel), (-0.2, heel - 0.1), (0.3, toe - 0.1), (0.9, toe), (0.9, 0.45), (-0.9, 0.45)]
    return [(upper, 1), _sole(rng, rng.uniform(0.4, 1))]


def _bag(rng: Generator) -> list[Polygon]:
    top, wide, handle = rng.uniform(-0.4, 0.1), rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.45)
    rise = top - rng.uniform(0.15, 0.5)
    ring = [_box(-handle, rise, handle, top, 0.8), _box(-handle + 0.1, rise + 0.1, handle - 0.1, top, 0)]
    return [*ring, _box(-wide, top, wide, rng.uniform(0.5, 0.85), 1)]


def _ankle_boot(rng: Generator) -> list[Polygon]:
    shaft, front = rng.uniform(-0.9, -0.45), rng.uniform(-0.25, 0.05)
    toe = rng.uniform(0.05, 0.25)
    boot = [(-0.9, shaft), (front, shaft), (front + 0.1, -0.05), (0.9, toe), (0.9, 0.45), (-0.9, 0.45)]
    return [(boot, 1), _sole(rng, rng.uniform(0.4, 1))]


_OUTLINES = [_t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _ankle_boot]
