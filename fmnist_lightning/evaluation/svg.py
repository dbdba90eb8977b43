"""Matplotlib's figures as SVG within a page, whose light or dark colours they take."""

import io
import re

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from fmnist_lightning.evaluation.figures import GRID, GROUND, TEXT

VARIABLES = {TEXT: "--text", GROUND: "--card", GRID: "--line"}  # of page.css
METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # reproducible


def to_svg(figure: Figure, description: str) -> Markup:
    """The figure as an SVG element that is as wide as its place.

    Args:
        figure: drawn with the colours TEXT, GROUND and GRID, and others that can be seen on a light and a dark ground.
        description: for screen readers.
    """
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):  # text in the page's font; unique ids
        figure.savefig(buffer, format="svg", metadata=METADATA)
    figure.clear()  # breaks reference cycles, which Python collects too rarely
    svg = buffer.getvalue()
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    body = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index(">", view_box.end()) + 1 :])  # the same in every figure
    body = re.sub(r"font-family: [^;\"]*; ?", "", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(f": {colour}", f": var({variable})")
    label = Markup('<svg class="figure" role="img" aria-label="{}" ').format(description)
    return label + Markup(f"{view_box.group()}>{body}")
