"""The table that the benchmark prints."""

import statistics
from typing import Any

import rich.box
from rich.console import Console
from rich.table import Table

from fmnist_lightning.benchmarking.measure import PARTS


def print_table(result: dict[str, Any]) -> None:
    """Prints the results, as benchmark.py writes them."""
    machine, variants, settings = result["machine"], result["variants"], result["settings"]
    load = (
        f", {settings['load']} busy process{'es' * (settings['load'] > 1)} at the same time" if settings["load"] else ""
    )
    table = Table(
        title=f"{machine['model']} on {machine['device']}{load}: {' '.join(settings['overrides'])}",
        caption=f"images per second, medians of {settings['repeats']}; project / variant: seconds of an epoch, "
        "training and validation, median (lowest - highest)",
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE,
    )
    table.add_column("variant")
    for column in ("precision", *PARTS, "s / epoch", "project / variant", "peak MB"):
        table.add_column(column, justify="right")
    for name, variant in variants.items():
        speeds = [f"{variant['images'][part] / statistics.median(variant[part]):,.0f}" for part in PARTS]
        ratio = _ratio(variants["project"]["epoch"], variant["epoch"]) if "project" in variants else ""
        seconds = f"{statistics.median(variant['epoch']):.3f}"
        table.add_row(name, variant["precision"], *speeds, seconds, ratio, str(variant["peak_mb"]))
    console = Console(highlight=False)
    console.width = max(console.width, 112)
    console.print(table)


def _ratio(project: list[float], variant: list[float]) -> str:
    ratios = [a / b for a, b in zip(project, variant, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f})"
