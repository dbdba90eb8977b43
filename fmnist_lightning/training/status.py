"""Writes the status of a run to summary.json: running, then completed, partial, interrupted or failed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Self

from omegaconf import DictConfig

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.run import Run


class RunStatus:
    """The summary of a run, in memory and on rank zero on disk; a context manager that holds the run's lock.

    After `create` or `prepare_resume` it records an exception in summary.json; a run that cannot be resumed stays as
    it is.
    """

    def __init__(self, run: Run, summary: dict[str, Any]) -> None:
        self.run = run
        self.summary = {"status": "running", **summary}
        self._recording = False
        self._lock: AbstractContextManager[None] = run.locked() if is_rank_zero() else nullcontext()

    def __enter__(self) -> Self:
        self._lock.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                self._record(error)
        finally:
            self._lock.__exit__(None, None, None)

    def _record(self, error: BaseException) -> None:
        if isinstance(error, OSError) and error.errno and error.filename is None:  # TensorBoard's errors name no file
            error.filename = str(self.run.folder)
        if self._recording:
            status = "failed" if isinstance(error, Exception) else "interrupted"
            with suppress(OSError):  # of a full disk, the first error is the one to report
                self.write(status=status, error=format_error(error))

    def create(self, cfg: DictConfig, overrides: Sequence[str]) -> None:
        """Creates the run on disk; ValueError if the directory already contains one."""
        if is_rank_zero():
            self.run.create(self.summary, cfg, overrides)
        self._recording = True

    def prepare_resume(self, cfg: DictConfig) -> None:
        """Prepares the directory of a run that is resumed."""
        if is_rank_zero():
            self.run.prepare_resume(self.summary, cfg)
        self._recording = True

    def write(self, **entries: Any) -> None:
        """Adds entries to the summary and writes it."""
        self.summary |= entries
        if is_rank_zero():
            self.run.write_summary(self.summary)
