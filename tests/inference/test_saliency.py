"""Saliency maps: they add up to what they explain, point to the pixels that matter, and leave the model as it was."""

import pytest
import torch

from fmnist_lightning.inference import Predictor
from fmnist_lightning.inference.saliency import LOWERS, RAISES, integrated_gradients, saliency_overlays
from fmnist_lightning.models import ANN, CNN


def make_predictor(kind):
    torch.manual_seed(0)
    return Predictor(kind(), epoch=1, device="cpu", precision="32-true")


@pytest.mark.parametrize("kind", [ANN, CNN])
def test_maps_add_up_to_the_difference_from_a_black_image(kind, tiny):
    predictor, images = make_predictor(kind), tiny.images["test"][:40]  # more than a batch
    maps = integrated_gradients(predictor, images)
    found = predictor.predict(images).log()
    black = predictor.predict(torch.zeros_like(images)).log()
    predicted = found.argmax(dim=1, keepdim=True)
    difference = (found - black).gather(1, predicted).squeeze(1)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), difference, rtol=0, atol=2e-2)
    assert torch.equal(maps, integrated_gradients(predictor, images))
    assert all(parameter.grad is None for parameter in predictor.model.parameters())


def test_overlay_is_orange_where_a_pixel_raises_the_probability_and_blue_where_it_lowers_it():
    predictor = make_predictor(lambda: ANN(hidden=[]))
    (linear,) = [layer for layer in predictor.model.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        weight = linear.weight.view(10, 28, 28)
        weight[3, :14], weight[3, 14:] = 1.0, -0.5
    (pixels,) = saliency_overlays(predictor, torch.full((1, 28, 28), 255, dtype=torch.uint8))
    assert (pixels[5, 14] / 255).tolist() == pytest.approx(RAISES, abs=0.01)
    red, _, blue = (pixels[22, 14].float() - pixels[22, 14].float().mean()).tolist()
    assert blue > red
    assert LOWERS[2] > LOWERS[0]


def test_black_images_and_no_images_have_maps(tiny):
    predictor = make_predictor(CNN)
    assert saliency_overlays(predictor, torch.zeros(2, 28, 28, dtype=torch.uint8)).sum() == 0
    assert saliency_overlays(predictor, tiny.images["test"][:0]).shape == (0, 28, 28, 3)
