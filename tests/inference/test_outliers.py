import pytest
import torch

from fmnist_lightning.inference.outliers import flag, outlier_scores

SURE, UNSURE = [20.0] + [0.0] * 9, [0.0] * 10


def test_score_grows_with_the_classes_that_are_possible():
    between_two = [20.0, 20.0] + [0.0] * 8
    scores = outlier_scores(torch.tensor([SURE, between_two, UNSURE]))
    assert scores.tolist() == sorted(scores.tolist())
    assert scores[2].item() == pytest.approx(10 * (0.1 * 0.9) ** 0.1, rel=1e-6)
    assert scores.isfinite().all()


def test_score_of_extreme_logits_is_finite():
    assert outlier_scores(torch.tensor([[1e4] + [-1e4] * 9])).tolist() == [0.0]


def test_reasons_name_the_most_probable_classes():
    images = torch.arange(4 * 784).view(4, 28, 28).to(torch.uint8)
    images[3] = 0
    probabilities = torch.full((4, 10), 0.05)
    probabilities[0, 6], probabilities[0, 2] = 0.34, 0.26
    probabilities[1, 8] = 0.55
    scores = torch.tensor([2.0, 2.0, 1.0, 0.0])
    classified = flag(images, probabilities, scores, 1.0)
    assert classified.is_outlier.tolist() == [True, True, False, True]
    assert classified.reasons[1:] == ["unlike the training images; most like Bag 0.55", "", "blank image"]
    assert classified.reasons[0].startswith("low confidence: Shirt 0.34, Pullover 0.26, ")
