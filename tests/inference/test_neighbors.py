"""The nearest training images have the most similar features, which are computed in steps that can be interrupted."""

import torch
import torch.nn.functional as F

from fmnist_lightning.inference import Predictor
from fmnist_lightning.inference.neighbors import CHUNK, Neighbors
from fmnist_lightning.models import CNN


def test_nearest_images_have_the_largest_cosine_similarity():
    torch.manual_seed(0)
    predictor = Predictor(CNN(filters=[4], head=[8]), epoch=1, device="cpu", precision="32-true")
    images = torch.randint(0, 256, (2 * CHUNK + 10, 28, 28), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    neighbors = Neighbors(predictor, images, labels)
    assert next(neighbors.prepare()) == CHUNK
    assert list(neighbors.prepare()) == [2 * CHUNK, len(images)]
    assert list(neighbors.prepare()) == []
    found = neighbors.nearest(images[-1])
    similarities = F.cosine_similarity(predictor.features(images), predictor.features(images[-1:]))
    expected = similarities.argsort(descending=True, stable=True)[:5]
    assert torch.equal(found.images, images[expected])
    assert torch.equal(found.labels, labels[expected])
    torch.testing.assert_close(found.similarities, similarities[expected])
    assert torch.equal(found.images[0], images[-1])
