"""What the demo page shows of a photo: its preparation, and the answer of each run, as HTML."""

import base64
import io
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image
from torch import Tensor

from fmnist_lightning.data.photos import PreparedPhoto
from fmnist_lightning.inference.demo.runs import ShownRun
from fmnist_lightning.inference.saliency import saliency_overlays

MAX_SIDE = 256  # of the garment on the page, in pixels


def show_hint(text: str) -> str:
    """What to do, in place of results."""
    return _template().render(hint=text, error="", runs=[])


def show_error(text: str) -> str:
    """Why there are no results."""
    return _template().render(hint="", error=text, runs=[])


def show_results(prepared: PreparedPhoto, runs: Sequence[ShownRun]) -> Iterator[str]:
    """The results as HTML: at once without the nearest training images, then until those are found, with progress."""
    image = torch.from_numpy(prepared.image.copy())
    shown = [_classify(run, image) for run in runs]
    page = {"hint": "", "error": "", "method": prepared.method, "cut_out": _cut_out(prepared), "input": data_url(image)}
    for run, entry in zip(runs, shown, strict=True):
        if run.neighbors is None:
            continue
        for done in run.neighbors.prepare():
            entry["progress"] = f"{done:,} of {len(run.neighbors.images):,}"
            yield _template().render(**page, runs=shown)
        found = run.neighbors.nearest(image)
        entry["progress"] = ""
        entry["nearest"] = [
            (data_url(pixels), run.predictor.class_names[label], similarity)
            for pixels, label, similarity in zip(
                found.images, found.labels.tolist(), found.similarities.tolist(), strict=True
            )
        ]
    yield _template().render(**page, runs=shown)


def _classify(run: ShownRun, image: Tensor) -> dict[str, Any]:
    """What the template shows of a run."""
    classified = run.predictor.classify(image[None])
    probabilities = classified.probabilities[0].tolist()
    bars = sorted(zip(run.predictor.class_names, probabilities, strict=True), key=lambda bar: -bar[1])
    return {
        "name": run.name,
        "note": run.note,
        "bars": bars,
        "reason": classified.reasons[0] if classified.is_outlier[0] else "",
        "saliency": data_url(saliency_overlays(run.predictor, image[None])[0]),
        "no_neighbors": run.no_neighbors,
        "progress": "",
        "nearest": [],
    }


def _cut_out(prepared: PreparedPhoto) -> str:
    """The photo where its mask is set, transparent elsewhere; without a mask none."""
    if prepared.mask is None:
        return ""
    cut_out = prepared.photo.convert("RGB")
    cut_out.putalpha(Image.fromarray(prepared.mask).convert("L"))
    cut_out.thumbnail((MAX_SIDE, MAX_SIDE))
    return data_url(np.asarray(cut_out))


def data_url(pixels: Tensor | np.ndarray) -> str:
    """An image (H, W) or (H, W, 3 or 4) uint8 as a data URL."""
    png = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fmnist_lightning.inference.demo", "."), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("results.html.j2")
