"""Writes results.json and report.html, each atomically."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from PIL import Image

from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.report import data_url, templates
from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.figures import StudyPlotter
from fmnist_lightning.study.images import NUM_SHOWN, always_wrong, confused_pairs, findings, near_duplicates
from fmnist_lightning.study.plan import PlannedRun, Variant
from fmnist_lightning.study.records import Records, read_records
from fmnist_lightning.study.reported import MODELS, STUDY
from fmnist_lightning.study.results import LARGE_DIFFERENCE, collect, large_differences

OVERVIEW = "overview.png"  # shown in README


def write(folder: Path, size: str, jobs: int, runs: Mapping[PlannedRun, Run]) -> dict[str, Any]:
    """Reads the runs and writes results.json, report.html and the overview.

    Args:
        folder: of the reproduction.
        size: full or quick.
        jobs: how many runs were trained at a time.
        runs: all planned runs, completed.

    Returns:
        What results.json holds.
    """
    records = read_records(runs)
    recipe = next(run for planned, run in runs.items() if planned.variant == Variant("cnn"))
    data: FashionMNISTData = instantiate(recipe.read_config().data, _convert_="all")
    data.setup()
    wrong, duplicates = always_wrong(records), near_duplicates(data)
    results = collect(records, size, jobs) | {"images": findings(records, wrong, duplicates)}
    light, dark = (
        _draw(StudyPlotter(d, data.dataset_info["data_note"]), results, records, data, wrong, duplicates)
        for d in (False, True)
    )
    page = templates("fmnist_lightning.study", "fmnist_lightning.evaluation").get_template("page.html.j2")
    html = page.render(
        results=results,
        study=STUDY,
        num_shown=NUM_SHOWN,
        large_difference=LARGE_DIFFERENCE,
        large_differences={model: large_differences(result) for model, result in results["models"].items()},
        runs=[(records[planned.variant][planned.seed].summary, run.folder.name) for planned, run in runs.items()],
        figures={name: [data_url(_to_256_colours(png)) for png in (light[name], dark[name])] for name in light},
    )
    for name, content in (
        ("results.json", json.dumps(results, indent=1, allow_nan=False) + "\n"),
        (OVERVIEW, _to_256_colours(light["overview"])),
        ("report.html", html),
    ):
        atomic_write(folder / name, content)
    return results


def _to_256_colours(png: bytes) -> bytes:
    """The PNG in 256 colours, a third of the size."""
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    return small.getvalue()


def _draw(
    plotter: StudyPlotter, results: dict[str, Any], records: Records, data: FashionMNISTData, wrong: Any, copies: Any
) -> dict[str, bytes]:
    drawn = {"overview": plotter.overview(results["models"]), "training_sizes": plotter.training_sizes(records)}
    images, names = data.images["test"], data.class_names
    for model in MODELS:
        runs = records[Variant(model)]
        title = f"{model.upper()}: mean counts over {len(runs)} seeds, and % of each true class"
        matrix = results["models"][model]["confusion_matrix"]
        drawn[f"confusion_matrix_{model}"] = plotter.confusion_matrix(matrix, names, title)
        for measure in ("accuracy", "loss"):
            drawn[f"{measure}_{model}"] = plotter.curves(runs, model, measure)
        drawn[f"ablation_{model}"] = plotter.ablation(records, model)
        drawn[f"confused_{model}"] = plotter.confused(images, confused_pairs(runs), names)
    drawn["always_wrong"] = plotter.always_wrong(images, wrong, names)
    train = torch.cat([data.images["train"], data.images["val"]])
    drawn["duplicates"] = plotter.duplicates(images, train, copies, names)
    return drawn
