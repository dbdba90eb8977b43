"""Compares scores for the outlier flag: python docs/scripts/outlier_scores.py RUN [PHOTOS].

Prints, for each score, the area under the ROC curve (AUROC) of validation images against synthetic outliers made from
other validation images, as a mean over 15 kinds of outliers, and of the worst kind. The images of a run with
data.augment=photos, outliers among them, are augmented as in its training. PHOTOS is a directory of photos with
labels.csv (file, kind, labels), where photos without labels are outliers; they are shown for comparison only. A second
table has the fraction of synthetic outliers that is flagged by the score used, by the fraction of validation images
that is not.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fmnist_lightning import load_run
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.inference import Predictor
from fmnist_lightning.inference.inputs import to_images
from fmnist_lightning.inference.outliers import outlier_scores, threshold
from fmnist_lightning.inference.run_calibration import like_photos
from fmnist_lightning.inference.run_data import run_datamodule
from fmnist_lightning.runs.run import Run

NUM = 400  # images of each kind of outlier
TOPS, TROUSERS, DRESS, SHOES = (0, 2, 4, 6), (1,), (3,), (5, 7, 9)
Score = Callable[[Tensor, Tensor], Tensor]  # of calibrated logits (N, 10) and features (N, F), larger for outliers


def main() -> None:
    """Prints the table."""
    run = Run.existing(sys.argv[1])
    predictor = load_run(run.folder, accelerator="cpu")
    data = run_datamodule(run, run.read_config())
    data.setup()
    torch.manual_seed(0)
    images, labels = data.images["val"], data.labels["val"]
    kinds = synthetic_outliers(images[1::2], labels[1::2])
    trousers = torch.ones(NUM, dtype=torch.int64)  # the augmentation neither pairs them nor moves sleeves
    outliers = {name: outputs(predictor, *intended(data, each, trousers[: len(each)])) for name, each in kinds.items()}
    ordinary, known = outputs(predictor, *intended(data, images[::2], labels[::2])), None
    training = outputs(predictor, *intended(data, data.images["train"][::4], data.labels["train"][::4]))
    if len(sys.argv) > 2:
        photos, is_known = read_photos(Path(sys.argv[2]))
        known, unknown = (outputs(predictor, photos[part], is_known[part]) for part in (is_known, ~is_known))
    print("| score | synthetic, mean | synthetic, worst | photos |\n|---|---|---|---|")
    for name, score in scores(*training).items():
        values = [auroc(score(*ordinary[:2]), score(*each[:2])) for each in outliers.values()]
        shown = f"{auroc(score(*known[:2]), score(*unknown[:2])):.3f}" if known else ""
        print(f"| {name} | {np.mean(values):.3f} | {min(values):.3f} | {shown} |")
    print("\n| not flagged | synthetic outliers flagged | sum |\n|---|---|---|")
    for passing in (0.75, 0.8, 0.85, 0.9, 0.95):
        limit = threshold(outlier_scores(ordinary[0]), passing)
        flagged = np.mean([(outlier_scores(each[0]) > limit).float().mean() for each in outliers.values()])
        print(f"| {passing:.2f} | {flagged:.3f} | {passing + flagged:.3f} |")


def outputs(predictor: Predictor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Calibrated logits, features, labels."""
    return predictor.calibrated(predictor.logits(images)), predictor.features(images), labels


def intended(data: FashionMNISTData, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images and labels as those for which the model is trained."""
    return like_photos(images, labels) if data.augment == "photos" else (images, labels)


def auroc(ordinary: Tensor, outliers: Tensor) -> float:
    """The probability that an outlier has a larger score than an ordinary image."""
    is_outlier = np.r_[np.zeros(len(ordinary)), np.ones(len(outliers))]
    return float(roc_auc_score(is_outlier, np.r_[ordinary, outliers]))


def scores(logits: Tensor, features: Tensor, labels: Tensor) -> dict[str, Score]:
    """The scores by name; those in feature space use the logits and features of training images (M, ...)."""
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(10)])
    shared, overall = inverse_covariance(features - means[labels]), inverse_covariance(features - features.mean(dim=0))
    units = F.normalize(features)

    def mahalanobis(logits: Tensor, features: Tensor) -> Tensor:
        offsets = features[:, None] - means
        distances: Tensor = torch.einsum("ncd,de,nce->nc", offsets, shared, offsets)
        return distances.amin(dim=1)

    def relative_mahalanobis(logits: Tensor, features_: Tensor) -> Tensor:
        offsets = features_ - features.mean(dim=0)
        return mahalanobis(logits, features_) - torch.einsum("nd,de,ne->n", offsets, overall, offsets)

    def nearest_neighbour(logits: Tensor, features: Tensor) -> Tensor:
        similar = [(part @ units.T).topk(10).values[:, -1] for part in F.normalize(features).split(500)]
        return -torch.cat(similar)

    return {
        "maximum probability": lambda logits, _: -logits.softmax(dim=1).amax(dim=1),
        "entropy": lambda logits, _: -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1),
        "generalised entropy (used)": lambda logits, _: outlier_scores(logits),
        "maximum logit": lambda logits, _: -logits.amax(dim=1),
        "energy": lambda logits, _: -logits.logsumexp(dim=1),
        "Mahalanobis distance": mahalanobis,
        "relative Mahalanobis distance": relative_mahalanobis,
        "10th nearest neighbour, cosine": nearest_neighbour,
    }


def inverse_covariance(centred: Tensor) -> Tensor:
    """The inverse (F, F) of the covariance, slightly regularised."""
    covariance = centred.T @ centred / len(centred)
    inverse: Tensor = torch.linalg.inv(covariance + 1e-3 * covariance.diag().mean() * torch.eye(len(covariance)))
    return inverse


def synthetic_outliers(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """15 kinds of outliers (NUM, 28, 28) uint8 from images (N, 28, 28) uint8 and labels (N,), by name."""
    order = torch.randperm(len(images))
    pixels, labels = images[order].float() / 255, labels[order]
    first, second = pixels[:NUM], pixels[NUM : 2 * NUM]
    rows = (torch.arange(28) + 0.5).view(1, 28, 1) / 14 - 1  # -1 to 1, down
    columns, distance = rows.mT, (rows**2 + rows.mT**2)

    def of(*classes: int) -> Tensor:
        return pixels[torch.isin(labels, torch.tensor(classes))][:NUM]

    def waves(side: int) -> Tensor:
        return F.interpolate(torch.randn(NUM, 1, side, side), size=(28, 28), mode="bicubic").squeeze(1)

    def drawn(draw: Callable[[ImageDraw.ImageDraw], None]) -> Tensor:
        canvases = [Image.new("L", (56, 56)) for _ in range(NUM)]
        for canvas in canvases:
            draw(ImageDraw.Draw(canvas))
        halves = [np.asarray(canvas.resize((28, 28), Image.Resampling.BOX)) for canvas in canvases]
        return torch.tensor(np.stack(halves)) / 255

    def letter(draw: ImageDraw.ImageDraw) -> None:
        text, tone = chr(65 + int(torch.randint(26, ()))), int(torch.randint(60, 256, ()))
        draw.text((28, 28), text, tone, ImageFont.load_default(44), anchor="mm")

    def polygons(draw: ImageDraw.ImageDraw) -> None:
        for num in torch.randint(3, 7, (3,)).tolist():
            corners = [tuple(corner) for corner in (56 * torch.rand(num, 2)).tolist()]
            draw.polygon(corners, int(torch.randint(50, 256, ())))

    tone = torch.rand(NUM, 1, 1) * 0.8 + 0.15
    width, height = torch.rand(2, NUM, 1, 1) * 0.6 + 0.4
    side_by_side = F.avg_pool2d(torch.cat([first, second], dim=2), 2)  # (NUM, 14, 28)
    one_above = F.avg_pool2d(torch.cat([first, second], dim=1), 2)  # (NUM, 28, 14)
    kinds = {
        "upper half of trousers": fitted(of(*TROUSERS) * (rows < 0)),
        "lower half of trousers": fitted(of(*TROUSERS) * (rows > 0)),
        "lower half of a dress": fitted(of(*DRESS) * (rows > 0)),
        "lower half of a top": fitted(of(*TOPS) * (rows > 0)),
        "left half of a garment": fitted(of(*TOPS, *DRESS) * (columns < 0)),
        "upper half of a shoe": fitted(of(*SHOES) * (rows < 0)),
        "top upside down": of(*TOPS).flip(1),
        "shoe upside down": of(*SHOES).flip(1),
        "two garments side by side": F.pad(side_by_side, (0, 0, 7, 7)),
        "two garments, one above the other": F.pad(one_above, (7, 7, 0, 0)),
        "blob": fitted((tone + 0.15 * waves(7)).clamp(0.05, 1) * (waves(5) - 2 * distance + 0.6 > 0)),
        "ellipse": fitted(tone * ((columns / width) ** 2 + (rows / height) ** 2 < 1)),
        "letter": fitted(drawn(letter)),
        "polygons": fitted(drawn(polygons)),
        "noise": torch.rand(NUM, 28, 28),
    }
    return {name: (each.clamp(0, 1) * 255).round().to(torch.uint8) for name, each in kinds.items()}


def fitted(pixels: Tensor) -> Tensor:
    """Images (N, 28, 28) whose content is cropped, scaled to 28 pixels and centred."""
    found = pixels > 0.03

    def span(found: Tensor) -> tuple[Tensor, Tensor]:
        found = found | ~found.any(dim=1, keepdim=True)
        return found.int().argmax(dim=1) / 14 - 1, 1 - found.flip(1).int().argmax(dim=1) / 14

    (left, right), (top, bottom) = span(found.any(dim=1)), span(found.any(dim=2))
    scale, zero = torch.maximum(right - left, bottom - top) / 2, torch.zeros(len(pixels))
    rows = [(scale, zero, (left + right) / 2), (zero, scale, (top + bottom) / 2)]
    grid = F.affine_grid(
        torch.stack([torch.stack(row, dim=1) for row in rows], dim=1), [len(pixels), 1, 28, 28], align_corners=False
    )
    return F.grid_sample(pixels.unsqueeze(1), grid, align_corners=False).squeeze(1)


def read_photos(folder: Path) -> tuple[Tensor, Tensor]:
    """The model's inputs (N, 28, 28) uint8 of a directory of photos, and which of them have a label, (N,) bool."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return to_images([folder / row["file"] for row in rows]), torch.tensor([bool(row["labels"]) for row in rows])


if __name__ == "__main__":
    main()
