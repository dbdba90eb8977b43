"""A run's outcome as HTML within a notebook."""

from collections.abc import Mapping
from typing import Any

from fmnist_lightning.evaluation.report import templates


def inline_html(text: str, summary: Mapping[str, Any], figures: Mapping[str, bytes]) -> str:
    """Scores and figures, without styles of their own: those of the notebook apply.

    Args:
        text: the first lines.
        summary: the run's; without scores there is no table.
        figures: PNGs by name.
    """
    template = templates("fmnist_lightning.evaluation").get_template("inline.html.j2")
    return template.render(text=text, summary=summary, figures=figures)
