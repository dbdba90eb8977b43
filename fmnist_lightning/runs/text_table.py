"""Columns of plain text that fit the terminal: those of the varied keys are cut where needed, scores never."""

import shutil
from collections.abc import Mapping, Sequence

GAP = "  "
_MIN_WIDTH = 4


def terminal_width() -> int:
    """Columns of the terminal (COLUMNS if set); 80 for a file or pipe."""
    return max(shutil.get_terminal_size().columns, 60)


def shorten(text: str, width: int) -> str:
    """The text, without its middle if it is longer than width."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def key_columns(values: Mapping[str, Sequence[str]], room: int) -> dict[str, tuple[str, int]]:
    """The title and width of a column for each key, together with their gaps at most room wide.

    The title is the key, or where that is too long its last part. The last keys are left out if all are too many.

    Args:
        values: of each key.
        room: in columns.
    """
    for titles in ({key: key.lstrip("+") for key in values}, _short_titles(values)):
        widths = _widths(titles, values)
        if _total(widths) <= room:
            break
    while len(widths) > 1 and (len(GAP) + _MIN_WIDTH) * len(widths) > room:
        widths.popitem()
    while _total(widths) > room and max(widths.values()) > _MIN_WIDTH:
        widths[max(widths, key=lambda key: widths[key])] -= 1
    return {key: (shorten(titles[key], width), width) for key, width in widths.items()}


def value_columns(values: Mapping[str, Sequence[str]], room: int) -> dict[str, tuple[str, int]]:
    """As `key_columns`, but no value is cut: titles are, and then the last keys are left out."""
    titles, least = _short_titles(values), {key: max(_MIN_WIDTH, *map(len, texts)) for key, texts in values.items()}
    widths = {key: max(least[key], len(title)) for key, title in titles.items()}
    while widths and _total(widths) > room:
        longest = max(widths, key=lambda key: widths[key] - least[key])
        if widths[longest] > least[longest]:
            widths[longest] -= 1
        else:
            widths.popitem()
    return {key: (shorten(titles[key], width), width) for key, width in widths.items()}


def short_width(values: Mapping[str, Sequence[str]]) -> int:
    """What the columns need for values that are not cut."""
    return _total(_widths(_short_titles(values), values))


def _short_titles(values: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The last part of each key, or the key where another one has the same."""
    names = {key: key.lstrip("+") for key in values}
    last = [name.rpartition(".")[2] for name in names.values()]
    return {key: part if last.count(part) == 1 else names[key] for key, part in zip(names, last, strict=True)}


def _widths(titles: Mapping[str, str], values: Mapping[str, Sequence[str]]) -> dict[str, int]:
    return {key: max(map(len, [titles[key], *values[key]])) for key in values}


def _total(widths: Mapping[str, int]) -> int:
    return sum(width + len(GAP) for width in widths.values())


def to_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The cells below each other's ends, those that are too long without their middle."""
    parts = [f"{shorten(cell, width):>{width}}" for cell, width in zip(cells, widths, strict=True)]
    return GAP.join(parts).rstrip()
