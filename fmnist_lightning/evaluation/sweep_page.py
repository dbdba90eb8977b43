"""The figure and the page of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

from fmnist_lightning.evaluation.report import templates
from fmnist_lightning.evaluation.sweeps import Row, draw_sweep, sweep_charts


def sweep_files(rows: Sequence[Row], swept_keys: Sequence[str], page: Mapping[str, Any]) -> dict[str, str | bytes]:
    """The contents of sweep.html, a self-contained page, and of sweep.png if there is something to draw.

    Args:
        rows: a row per job, as for `draw_sweep`.
        swept_keys: whose value differs between rows.
        page: the texts of the page, by the names that its template has for them.
    """
    template = templates("fmnist_lightning.evaluation").get_template("sweep.html.j2")
    files: dict[str, str | bytes] = {"sweep.html": template.render(page, charts=sweep_charts(rows, swept_keys))}
    if png := draw_sweep(rows, swept_keys, page["warnings"]):
        files["sweep.png"] = png
    return files
