"""What the demo page shows of a photo, without a server."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from fmnist_lightning.data.photos import PreparedPhoto
from fmnist_lightning.inference import Predictor
from fmnist_lightning.inference.demo.results import show_error, show_results
from fmnist_lightning.inference.demo.runs import ShownRun
from fmnist_lightning.inference.neighbors import Neighbors
from fmnist_lightning.models import ANN


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    return Predictor(ANN(hidden=[8]), epoch=1, device="cpu", precision="32-true")


def pixels_of(page, alt):
    """The image with this alternative text."""
    (url,) = re.findall(rf'src="data:image/png;base64,([^"]+)" alt="{alt}"', page)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url))))


def test_results_are_those_of_the_predictor_and_come_step_by_step(predictor, tiny):
    image = tiny.images["test"][0]
    run = ShownRun(
        "<i>run", "test accuracy 0.9", predictor, Neighbors(predictor, tiny.images["train"], tiny.labels["train"])
    )
    pages = list(show_results(PreparedPhoto(image.numpy(), "unchanged", None, Image.new("L", (28, 28))), [run]))
    assert "320 of 320" in pages[0]
    assert "Training image" not in pages[0]
    page = pages[-1]
    assert page.count("Training image") == 5
    assert "&lt;i&gt;run" in page
    probabilities = predictor.predict(image[None])[0]
    shown = re.findall(r"<span>([\w/ -]+)</span><span>([\d.]+) %</span>", page)
    expected = {name: f"{100 * p:.1f}" for name, p in zip(predictor.class_names, probabilities.tolist(), strict=True)}
    assert dict(shown) == expected
    assert [float(percent) for _, percent in shown] == sorted(map(float, expected.values()), reverse=True)
    assert np.array_equal(pixels_of(page, "The model's input, 28 by 28 pixels"), image.numpy())
    assert "cut out" not in page


def test_cut_out_is_transparent_where_no_garment_is(predictor):
    mask = np.zeros((112, 84), bool)
    mask[30:80, 20:60] = True
    prepared = PreparedPhoto(np.zeros((28, 28), np.uint8), "segmentation", mask, Image.new("RGB", (84, 112), "red"))
    (page,) = show_results(prepared, [ShownRun("a", "", predictor, None, "no images <here>")])
    cut_out = pixels_of(page, "The garment, cut out of its background")
    assert np.array_equal(cut_out[..., 3] == 255, mask)
    assert (cut_out[..., 0] == 255).all()
    assert "no images &lt;here&gt;" in page


def test_error_is_announced_and_escaped():
    assert 'role="alert">damaged &lt;b&gt;' in show_error("damaged <b>")
