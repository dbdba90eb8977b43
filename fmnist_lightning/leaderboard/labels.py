"""Places labels in a figure where they cover neither points, lines nor each other."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

Point = tuple[float, float]  # in data coordinates

SIDES = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))  # of a point, the best one first
GAPS = (8, 14, 22, 32)  # in typographic points
HORIZONTAL = {-1: "right", 0: "center", 1: "left"}
VERTICAL = {-1: "top", 0: "center", 1: "bottom"}


class LabelPlacer:
    """Places labels in axes whose limits and layout are final."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.canvas.draw()  # computes the layout
        figure.set_layout_engine("none")
        self.taken: list[Bbox] = []

    def occupy(self, start: Point, end: Point, margin: float = 1.0) -> None:
        """Keeps labels off a line between two points, or off a point; the margin is in pixels."""
        (x0, y0), (x1, y1) = self.axes.transData.transform((start, end))
        self.taken.append(Bbox.from_extents(x0 - margin, y0 - margin, x1 + margin, y1 + margin))

    def beside(self, text: str, at: Point, colour: str) -> None:
        """Labels a point."""
        places = [
            {"xy": at, "xytext": (x * gap, y * gap), "ha": HORIZONTAL[x], "va": VERTICAL[y]}
            for gap in GAPS
            for x, y in SIDES
        ]
        self._place(text, places, color=colour, fontsize=9)

    def along(self, text: str, height: float, colour: str) -> None:
        """Labels a horizontal line, above or below it, at any of ten places from left to right."""
        coordinates = ("axes fraction", "data")
        places = [
            {"xy": (x / 10, height), "xycoords": coordinates, "xytext": (4, y * 3), "va": VERTICAL[y]}
            for x in range(10)
            for y in (1, -1)
        ]
        self._place(text, places, color=colour, fontsize=8.5)

    def _place(self, text: str, places: Sequence[dict[str, Any]], **style: Any) -> None:
        """Draws the text at the place where it covers least, the first of several."""
        covered = [self._covered(text, place, style) for place in places]
        label = self.axes.annotate(text, textcoords="offset points", **places[covered.index(min(covered))], **style)
        self.taken.append(label.get_window_extent())

    def _covered(self, text: str, place: dict[str, Any], style: dict[str, Any]) -> float:
        """Square pixels of other things that the text would cover, and of its own outside the axes."""
        label = self.axes.annotate(text, textcoords="offset points", **place, **style)
        box = label.get_window_extent()
        label.remove()
        return sum(_common(box, other) for other in self.taken) + box.width * box.height - _common(box, self.axes.bbox)


def _common(box: Bbox, other: Any) -> float:
    common = Bbox.intersection(box, other)
    return 0.0 if common is None else float(common.width * common.height)
