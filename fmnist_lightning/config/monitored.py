"""Which metric a callback monitors, and whether lower or higher values of it are better."""

from collections.abc import Mapping
from typing import Any

MONITORED = ("val/loss", "val/accuracy", "train/loss", "train/accuracy")  # never a test score
# also in evaluation/choice.py, which imports nothing from here
BEST = {"min": "lowest", "max": "highest"}


def mode_of(metric: str) -> str | None:
    """`min` for a loss, `max` for an accuracy; None for any other metric."""
    if metric.endswith("loss"):
        return "min"
    return "max" if metric.endswith(("accuracy", "acc")) else None


def mode_contradiction(callbacks: Mapping[str, Any]) -> str | None:
    """The error message for the first entry of cfg.callbacks whose `mode` contradicts its `monitor`, if one does."""
    for name, callback in callbacks.items():
        if not (isinstance(callback, Mapping) and "mode" in callback and isinstance(callback.get("monitor"), str)):
            continue
        metric, mode, expected = callback["monitor"], callback["mode"], mode_of(callback["monitor"])
        key = f"callbacks.{name}.mode={mode}"
        if mode == "auto" and expected is None:
            return f"{key}: cannot be derived from monitor={metric}; set min or max"
        if mode in BEST and expected not in (mode, None):
            return (
                f"{key}: contradicts callbacks.{name}.monitor={metric}, whose best value is the {BEST[expected]}; "
                "use mode=auto"
            )
    return None


def resolve_mode(callback: Mapping[str, Any]) -> dict[str, Any]:
    """The argument that replaces `mode: auto` in a callback's config; empty for any other mode."""
    return {"mode": mode_of(callback["monitor"])} if callback.get("mode") == "auto" else {}
