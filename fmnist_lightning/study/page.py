"""Writes results.json, and from it and the images report.html and README's overview; each atomically."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from markupsafe import Markup
from omegaconf import DictConfig

from fmnist_lightning.config.compose import compose_config, without_hydra
from fmnist_lightning.data import FashionMNISTData
from fmnist_lightning.evaluation.report import templates
from fmnist_lightning.runs.files import atomic_write
from fmnist_lightning.runs.run import Run
from fmnist_lightning.study.alt_texts import name_layers
from fmnist_lightning.study.figures import StudyPlotter
from fmnist_lightning.study.images import NUM_SHOWN, ImageUrls, always_wrong, findings, near_duplicates
from fmnist_lightning.study.model_cards import describe_references
from fmnist_lightning.study.plan import PlannedRun, Variant, ablation_variants, without_early_stopping
from fmnist_lightning.study.records import describe_runs, read_records, select_runs
from fmnist_lightning.study.reported import MODELS, STUDY
from fmnist_lightning.study.results import LARGE_DIFFERENCE, collect, large_differences
from fmnist_lightning.study.unspecified import UNSPECIFIED

RESULTS = "results.json"
OVERVIEW = "overview.png"  # shown in README


def write(
    folder: Path, size: str, jobs: int, runs: Mapping[PlannedRun, Run], photos: Path | None = None
) -> dict[str, Any]:
    """Reads the runs and writes results.json, report.html and the overview.

    Args:
        folder: of the reproduction.
        size: full or quick.
        jobs: how many runs were trained at a time.
        runs: all planned runs, completed.
        photos: a directory of photos to score, with labels.csv.

    Returns:
        What results.json holds.
    """
    records = read_records(runs)
    recipe = next(run for planned, run in runs.items() if planned.variant == Variant("cnn"))
    data = _load_data(recipe.read_config())
    torch.set_num_threads(1)  # as in the runs: the same digits for any number of cores
    results = collect(records, size, jobs) | describe_references(runs, photos)
    results |= {
        "images": findings(records, always_wrong(records), near_duplicates(data)),
        "runs": describe_runs(records, runs),
    }
    atomic_write(folder / RESULTS, json.dumps(results, indent=1, allow_nan=False) + "\n")
    _write_page(folder, results, data)
    return results


def rewrite(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Writes report.html and the overview again, from results.json and the images, without the runs.

    Args:
        folder: with results.json.
        overrides: of the data, as given when the runs were trained.

    Raises:
        ValueError: results.json is missing or of an earlier version, or the images or their split are not its own.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise ValueError(f"reproduce.train=false: {path} does not exist; without this argument it is created")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "early_stopping" not in results:
        raise ValueError(f"{path}: written by an earlier version of this package; reproduce the study again")
    environment = results["environment"]
    recipe = Variant("cnn").overrides(results["models"]["cnn"]["seeds"][0], results["size"])
    data = _load_data(without_hydra(compose_config([f"data={environment['data']}", *overrides, *recipe])))
    for fingerprint in ("data_sha256", "split_sha256"):
        if data.dataset_info[fingerprint] != environment[fingerprint]:
            raise ValueError(f"{path}: {fingerprint} differs; repeat the overrides of the data, such as data.num_train")
    _write_page(folder, results, data)
    return results


def _load_data(cfg: DictConfig) -> FashionMNISTData:
    data: FashionMNISTData = instantiate(cfg.data, _convert_="all")
    data.setup()
    return data


def _write_page(folder: Path, results: dict[str, Any], data: FashionMNISTData) -> None:
    plotter = StudyPlotter(note=results["environment"]["data_note"])
    page = templates("fmnist_lightning.study", "fmnist_lightning.evaluation").get_template("page.html.j2")
    html = page.render(
        results=results,
        study=STUDY,
        num_shown=NUM_SHOWN,
        large_difference=LARGE_DIFFERENCE,
        large_differences={model: large_differences(result) for model, result in results["models"].items()},
        name_layers=name_layers,
        images=ImageUrls(data),
        unspecified=UNSPECIFIED,
        figures=_draw(plotter, results),
    )
    atomic_write(folder / OVERVIEW, plotter.overview(results["models"]))
    atomic_write(folder / "report.html", html)


def _runs(results: dict[str, Any], part: str, model: str, variant: Variant) -> list[dict[str, Any]]:
    return sorted(select_runs(results, variant, results[part][model]["seeds"]), key=lambda run: run["seed"])


def _draw(plotter: StudyPlotter, results: dict[str, Any]) -> dict[str, Markup]:
    drawn = {"training_sizes": plotter.training_sizes(results["training_size"], results["power_law"])}
    for model in MODELS:
        variants = [_runs(results, "ablation", model, variant) for variant in ablation_variants(model)]
        trained_on = _runs(results, "early_stopping", model, without_early_stopping(model))
        recipe = _runs(results, "models", model, Variant(model))
        drawn |= {
            f"scores_{model}": plotter.scores(results["models"][model], model),
            f"accuracy_{model}": plotter.curves(recipe, model, "accuracy"),
            f"loss_{model}": plotter.curves(recipe, model, "loss"),
            f"ablation_{model}": plotter.ablation(variants, results["ablation"][model], model),
            f"stopping_{model}": plotter.stopping(trained_on, results["early_stopping"][model], model),
            f"choices_{model}": plotter.choices(results["choices"][model][1:], model),  # without the recipe
        }
    return drawn
