import numpy as np
import torch

from fmnist_lightning.data.class_names import CLASS_NAMES
from fmnist_lightning.data.image_files import ImageSource
from fmnist_lightning.inference.files.predict_files import PredictedBatch, Prepared
from fmnist_lightning.inference.files.write_predictions import score_batch, to_rows
from fmnist_lightning.inference.outliers import Classified


def test_row_and_score_choose_the_same_of_equally_probable_classes():
    num_images = 64
    probabilities = torch.full((num_images, 10), 0.02)
    for index in range(num_images):  # bfloat16 logits are often equal
        probabilities[index, torch.randperm(10, generator=torch.Generator().manual_seed(index))[:4]] = 0.22
    images = [
        Prepared(ImageSource(f"{i}.png", f"{i}.png", bytes), np.zeros((28, 28), np.uint8), "")
        for i in range(num_images)
    ]
    batch = PredictedBatch(
        images, Classified(probabilities, torch.zeros(num_images), torch.zeros(num_images, dtype=torch.bool), [""] * 64)
    )
    scored = []
    score_batch(batch, lambda path, name, label, score, is_outlier: scored.append(label))
    assert [int(row[1]) for row in to_rows(batch, CLASS_NAMES)] == scored
