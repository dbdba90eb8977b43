import pytest
import torch.nn.functional as F

from fmnist_lightning.inference.predictor import Predictor
from fmnist_lightning.models import CNN
from fmnist_lightning.training.scoring import score_splits, score_with_flips


def test_flip_averaging_scores_the_mean_of_the_probabilities(tiny):
    predictor = Predictor(CNN(filters=[4], head=[]), 1, "cpu", "32-true")
    plain, logits = score_splits(predictor, tiny)
    scores = score_with_flips(predictor, tiny, logits)
    for stage in ("val", "test"):
        images, labels = tiny.images[stage], tiny.labels[stage]
        mean = (predictor.logits(images).softmax(1) + predictor.logits(images.flip(-1)).softmax(1)) / 2
        assert scores[stage]["accuracy"] == pytest.approx((mean.argmax(1) == labels).float().mean().item(), abs=1e-6)
        assert scores[stage]["loss"] == pytest.approx(F.nll_loss(mean.log(), labels).item(), abs=1e-5)
        assert scores[stage]["loss"] != pytest.approx(plain[stage]["loss"], abs=1e-6)
