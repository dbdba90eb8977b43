"""How terminal, report and figures name the metric that selected the tested epoch."""

from collections.abc import Mapping
from typing import Any

STAGES = {"train": "training", "val": "validation"}
BEST = {"min": "lowest", "max": "highest"}


def name_choice(monitored: Mapping[str, Any]) -> str:
    """A phrase such as "lowest validation loss".

    Args:
        monitored: of a summary: metric, mode, value.
    """
    stage, _, measure = monitored["metric"].partition("/")
    name = f"{STAGES[stage]} {measure}" if stage in STAGES and measure else monitored["metric"]
    return f"{BEST[monitored['mode']]} {name}"
