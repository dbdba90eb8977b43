"""Augments whole batches so that they resemble prepared photos; parts of garments become outliers without a class.

A prepared photo (`data/photos.py`) differs from the dataset: the garment lies at an angle with its sleeves spread, is
wider, softer, wrinkled or unevenly lit; its cut-out misses parts or includes background; shoes come in pairs. Outliers
(shorts, skirts, caps, halves of two garments) have the same probability of each class as their label, so that the model
learns to be unsure of what it does not know (outlier exposure, arXiv 1812.04606).

Coordinates are those of `grid_sample`: -1 to 1 across the image, x to the right, y down.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_CLASSES = 10
TROUSERS, SHOES, SHOES_AND_BAGS, WITH_SLEEVES = 1, (5, 7, 9), (5, 7, 8, 9), (0, 2, 4, 6)
UNCHANGED = 0.15  # fraction of the batch that is only flipped: the model has to know the dataset, too
OUTLIERS = 0.15  # fraction of the batch
BACKGROUND = 0.03  # pixel values up to this one are background


def augment_for_photos(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28) uint8 that resemble prepared photos, and the probabilities (N, 10) of the classes."""
    num = len(images)
    first, last = round(UNCHANGED * num), num - round(OUTLIERS * num)
    targets = F.one_hot(labels, NUM_CLASSES).float()
    targets[last:] = 1 / NUM_CLASSES
    pixels = images.float() / 255
    pixels = torch.where(_chance(pixels, 0.5), pixels.flip(-1), pixels)
    pairs = _is_in(labels, SHOES) & _chance(labels, 0.6)
    pairs[:first], pairs[last:] = False, False
    pixels[pairs] = _pairs(pixels[pairs])
    pixels[last:] = _outliers(pixels[last:], labels[last:])
    has_sleeves = _is_in(labels, WITH_SLEEVES)
    has_sleeves[last:] = False
    pixels[first:] = _photographed(_warped(pixels[first:], has_sleeves[first:]))
    return (pixels * 255).round().to(torch.uint8), targets


def _uniform(like: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """One number per image: (N, 1, 1), or (N, *shape)."""
    return torch.rand(len(like), *(shape or (1,) * (like.dim() - 1)), device=like.device) * (high - low) + low


def _chance(like: Tensor, probability: float) -> Tensor:
    """A decision per image."""
    return _uniform(like, 0, 1) < probability


def _is_in(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    return torch.isin(labels, torch.tensor(classes, device=labels.device))


def _grid(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates x (1, 1, side) and y (1, side, 1) of the centres of pixels."""
    line = (torch.arange(side, device=like.device) + 0.5) * (2 / side) - 1
    return line.view(1, 1, -1), line.view(1, -1, 1)


def _sample(pixels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The pixels (N, 28, 28) at x, y (N, H, W), black outside."""
    grid = torch.stack(torch.broadcast_tensors(x, y), dim=-1)
    return F.grid_sample(pixels.unsqueeze(1), grid, align_corners=False).squeeze(1)


def _rotate(x: Tensor, y: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    return x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()


def _pairs(shoes: Tensor) -> Tensor:
    """Two copies of a shoe: side by side and mirrored, as seen from above, or one behind the other."""
    x, y = _grid(28, shoes)
    from_above = _chance(shoes, 0.6)
    angle = torch.where(from_above, 1.57, 0.0) + _uniform(shoes, -0.35, 0.35)
    mirror = torch.where(_chance(shoes, 0.7), -1, 1)
    right, down = _uniform(shoes, 0.12, 0.35), torch.where(from_above, 0, 1) * _uniform(shoes, -0.4, 0.4)
    narrow = torch.where(from_above, _uniform(shoes, 0.8, 1.6), 1)  # a shoe from above is slimmer than from the side
    front, back = (
        _sample(shoes, 1.9 * turned, 1.9 * narrow * across)
        for sign, shift in ((1, 1), (mirror, -1))
        for turned, across in [_rotate(sign * (x - shift * right), y - shift * down, angle)]
    )
    return torch.where(front > BACKGROUND, front, back)


def _outliers(pixels: Tensor, labels: Tensor) -> Tensor:
    """Shorts, skirts, caps, and halves of two garments, cut from the garments of a batch."""
    x, y = _grid(28, pixels)
    cut = _uniform(pixels, -0.3, 0.2)
    gap = _chance(pixels, 0.4) & (x.abs() < _uniform(pixels, 0.05, 0.3) * (y - cut - _uniform(pixels, 0.1, 0.5)))
    skirt = pixels * ((y > cut) & (x.abs() < _uniform(pixels, 0.4, 1)) & ~gap)  # some with legs
    shorts = pixels * (y < cut)
    size_x, size_y, brim = _uniform(pixels, 0.4, 1), _uniform(pixels, 0.4, 1), _uniform(pixels, -0.8, 0.8)
    dome = ((x / size_x) ** 2 + ((y + brim * x**2) / size_y) ** 2 < 1) & (y < size_y * _uniform(pixels, 0.1, 1.2))
    cap = dome * _sample(pixels, size_x / 2 * x, size_y / 2 * y).clamp(min=0.1)
    halves = torch.where(x < _uniform(pixels, -0.3, 0.3), pixels, pixels.roll(1, 0))
    is_trousers, becomes_cap = (labels == TROUSERS).view(-1, 1, 1), _is_in(labels, SHOES_AND_BAGS).view(-1, 1, 1)
    parts = torch.where(is_trousers, shorts, torch.where(becomes_cap, cap, skirt))
    return torch.where(_chance(pixels, 0.15), halves, parts)


def _warped(pixels: Tensor, has_sleeves: Tensor) -> Tensor:
    """Rotated, sheared, widened, bent, with spread sleeves, lost parts and residue; fitted to the image again."""
    angle, shear = _uniform(pixels, -1, 1) ** 3 * 0.5, _uniform(pixels, -0.1, 0.1)
    width, taper, bulge = _uniform(pixels, -0.1, 0.4).exp(), _uniform(pixels, -0.2, 0.2), _uniform(pixels, -0.2, 0.4)
    spread = has_sleeves.view(-1, 1, 1) & _chance(pixels, 0.3)
    shoulder, armpit = _uniform(pixels, 0.38, 0.58), _uniform(pixels, -0.8, -0.5)
    left_sleeve, right_sleeve = (torch.where(spread, _uniform(pixels, 0, 0.8), 0) for _ in range(2))  # radians
    waves = _uniform(pixels, 0.7, 3, 4, 1, 1) * torch.where(_uniform(pixels, 0, 1, 4, 1, 1) < 0.5, -1, 1)
    phases, heights = _uniform(pixels, 0, 6.28, 2, 1, 1), _uniform(pixels, -0.06, 0.06, 2, 1, 1)
    normal = _uniform(pixels, 0, 6.28)
    edge = torch.where(_chance(pixels, 0.1), _uniform(pixels, 0.5, 0.8), 9)
    residue_x, residue_y = _uniform(pixels, -1, 1), _uniform(pixels, -1, 1)
    size_x, size_y = _uniform(pixels, 0.1, 0.5), _uniform(pixels, 0.1, 0.5)
    residue = torch.where(_chance(pixels, 0.06), _uniform(pixels, 0.1, 0.9), 0)

    def at(x: Tensor, y: Tensor) -> Tensor:
        blob = residue * (((x - residue_x) / size_x) ** 2 + ((y - residue_y) / size_y) ** 2 < 1)
        bent_x = x + heights[:, 0] * torch.sin(waves[:, 0] * x + waves[:, 1] * y + phases[:, 0])
        bent_y = y + heights[:, 1] * torch.sin(waves[:, 2] * x + waves[:, 3] * y + phases[:, 1])
        x, y = _rotate(bent_x, bent_y, angle)
        x = (x + shear * y) * (1 + taper * y) / width
        x = x * (1 + bulge * (x.square().clamp(max=1) - 1))  # a wider or narrower body, with the same sleeves' ends
        lost = x * normal.cos() + y * normal.sin() > edge
        # a sleeve, outside of the shoulder, is turned outwards around the armpit
        turned, down = _rotate(x.abs() - shoulder, y - armpit, torch.where(x < 0, left_sleeve, right_sleeve))
        is_sleeve = x.abs() > shoulder
        lost = lost | (is_sleeve & (turned < 0))
        y = torch.where(is_sleeve, down + armpit, y)
        x = torch.where(is_sleeve, x.sign() * (turned + shoulder), x)
        return torch.maximum(_sample(pixels, torch.where(lost, 9, x), y), blob)

    reach, side = 2.1, 36
    x, y = _grid(side, pixels)
    found = at(reach * x, reach * y) > BACKGROUND
    (left, right), (top, bottom) = (_span(found.any(dim), reach) for dim in (1, 2))
    scale = torch.maximum(right - left, bottom - top) / 2 * _uniform(pixels, 0.93, 1.05)
    offset_x, offset_y = _uniform(pixels, -0.04, 0.04), _uniform(pixels, -0.04, 0.04)
    x, y = _grid(28, pixels)
    return at(scale * x + (left + right) / 2 + offset_x, scale * y + (top + bottom) / 2 + offset_y)


def _span(found: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """The coordinates (N, 1, 1) of the first and of the last true entry of found (N, side); all, if there is none."""
    side = found.shape[1]
    found = (found | ~found.any(1, keepdim=True)).int()
    first, end = found.argmax(1).view(-1, 1, 1), side - found.flip(1).argmax(1).view(-1, 1, 1)
    return (2 * first / side - 1) * reach, (2 * end / side - 1) * reach


def _photographed(pixels: Tensor) -> Tensor:
    """Other brightness, contrast, sharpness, light, wrinkles and prints within a garment whose mask has errors."""
    x, y = _grid(28, pixels)
    num_closed = round(0.5 * len(pixels))
    pixels = torch.cat([_closed(pixels[:num_closed]), pixels[num_closed:]])
    mask = (pixels > BACKGROUND).float()
    mean, coverage = _mean(pixels, mask), _blurred(mask)
    pixels = torch.lerp(pixels, _blurred(pixels) / coverage.clamp(min=0.1), _uniform(pixels, -0.4, 1))
    contrast, brightness = _uniform(pixels, 0.2, 0.9), _uniform(pixels, 0.25, 0.9)
    pixels = torch.where(_chance(pixels, 0.1), pixels, (pixels - mean) * contrast + brightness)
    light = _uniform(pixels, -0.12, 0.12) * x + _uniform(pixels, -0.12, 0.12) * y
    noise = (torch.rand_like(pixels) - 0.5) * _uniform(pixels, 0, 1) ** 3 * 0.2
    coarse = F.interpolate(torch.rand(len(pixels), 1, 9, 9, device=pixels.device) - 0.5, (28, 28), mode="bilinear")
    prints = coarse.squeeze(1) * _uniform(pixels, 0, 1) ** 3 * 0.3
    pixels = (pixels + light + noise + prints + _wrinkles(pixels) + _stripes(pixels)).clamp(BACKGROUND, 1)
    hole_x, hole_y = _uniform(pixels, -1, 1), _uniform(pixels, -1, 1)
    hole = ((x - hole_x).abs() < _uniform(pixels, 0.1, 0.4)) & ((y - hole_y).abs() < _uniform(pixels, 0.1, 0.4))
    mask = mask * ~(hole & _chance(pixels, 0.15))
    return pixels * mask * (1 - (1 - coverage) * _uniform(pixels, 0, 1))  # at its edge, partly background


def _mean(pixels: Tensor, mask: Tensor) -> Tensor:
    """Mean (N, 1, 1) within the mask."""
    return (pixels * mask).sum((1, 2), keepdim=True) / mask.sum((1, 2), keepdim=True).clamp(min=1)


def _closed(pixels: Tensor) -> Tensor:
    """Fills gaps of up to 4 pixels, between legs or sleeve and body, as a cut-out does."""
    mask = (pixels > BACKGROUND).float()
    dilated = F.max_pool2d(F.pad(mask, [4] * 4).unsqueeze(1), 5, 1)
    closed = -F.max_pool2d(-dilated, 5, 1).squeeze(1)
    return torch.where(closed > mask, _mean(pixels, mask), pixels)


def _blurred(pixels: Tensor) -> Tensor:
    return F.avg_pool2d(pixels.unsqueeze(1), 3, 1, 1).squeeze(1)


def _wrinkles(pixels: Tensor) -> Tensor:
    """Streaks of one direction (N, 28, 28): noise, stretched."""
    x, y = _rotate(*_grid(28, pixels), _uniform(pixels, 0, 3.14))
    noise = torch.rand(len(pixels), 20, 20, device=pixels.device) - 0.5
    return _uniform(pixels, 0, 0.15) * _sample(noise, x * _uniform(pixels, 0.25, 0.6), y * _uniform(pixels, 0.1, 0.4))


def _stripes(pixels: Tensor) -> Tensor:
    """Waves of one direction (N, 28, 28), on a fifth of the images."""
    x, _ = _rotate(*_grid(28, pixels), _uniform(pixels, 0, 3.14))
    waves = torch.sin(_uniform(pixels, 8, 40) * x + _uniform(pixels, 0, 6.28))
    return _chance(pixels, 0.2) * _uniform(pixels, 0, 0.2) * waves
