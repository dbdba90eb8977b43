"""Shows how many images have been predicted: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

SECONDS_BETWEEN_LINES = 30


class PredictionProgress:
    """A context manager.

    Args:
        total: the number of images; None if it is not known, as the images are streamed.
        completed: images that an earlier command predicted.
    """

    def __init__(self, total: int | None, completed: int = 0) -> None:
        self.completed, self.resumed = completed, completed
        self.started = self.printed = time.monotonic()
        self.bar = Progress(
            TextColumn("predicting"),
            BarColumn(bar_width=20),
            TaskProgressColumn(show_speed=True),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=Console(highlight=False),
            transient=True,
            refresh_per_second=4,
            disable=not sys.stdout.isatty(),
        )
        self.task = self.bar.add_task("", total=total, completed=completed, counts="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, completed: int, num_errors: int) -> None:
        """Shows the number of images, and of those that were not read."""
        self.completed = completed
        counts = f"{completed:,} images, {num_errors:,} not read"
        self.bar.update(self.task, completed=completed, counts=counts)
        if self.bar.disable and time.monotonic() - self.printed > SECONDS_BETWEEN_LINES:
            self.printed = time.monotonic()
            print(f"{counts}, {self.images_per_second:,.0f} images per second", flush=True)

    @property
    def images_per_second(self) -> float:
        """The mean of this command."""
        return (self.completed - self.resumed) / max(time.monotonic() - self.started, 1e-9)
