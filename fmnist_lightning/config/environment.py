"""The environment of a command: removes variables that would change results, and tolerates unwritable output."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

# Lightning reads a default of every Trainer argument from PL_TRAINER_ARGUMENT; the last two change float32 on GPUs
_IGNORED = ("PL_TRAINER_", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE")


@contextmanager
def command_environment() -> Iterator[None]:
    """Decorates a command's main function: output that cannot be written never ends a run.

    The command reports lost output at its end and exits with 1. Characters that the encoding lacks are escaped.
    """
    output = tolerate_streams()
    if output:  # also for the processes that this one starts
        os.environ["PYTHONIOENCODING"] = f"{sys.stdout.encoding}:backslashreplace"
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend is not installed everywhere; figures are written to files
    _remove_ignored_variables()
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
    sys.stdout.flush()
    if output and output.error:
        sys.exit(f"error: standard output: cannot be written ({output.error.strerror}); files on disk are not affected")


def tolerate_streams() -> "_Output | None":
    """Makes the standard streams drop what cannot be written; returns standard output if it is this process's own."""
    sys.stdout, output = _tolerant(sys.stdout, 1)
    sys.stderr, _ = _tolerant(sys.stderr, 2)
    return output


def _remove_ignored_variables() -> None:
    ignored = sorted(name for name in os.environ if name.startswith(_IGNORED))
    for name in ignored:
        del os.environ[name]
    if ignored:
        print(
            f"ignored environment variables: {', '.join(ignored)}; trainer arguments are overrides: trainer.KEY=VALUE",
            file=sys.stderr,
        )


class _Output(io.FileIO):
    """A standard stream that drops what cannot be written, and stores the first error."""

    error: OSError | None = None

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Writes the data, or drops it."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)


def _tolerant(stream: TextIO | None, descriptor: int) -> tuple[TextIO, _Output | None]:
    if stream is None:  # closed by the shell; otherwise the next opened file would get its descriptor
        return open(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"), None  # noqa: PTH123
    if stream not in (sys.__stdout__, sys.__stderr__):  # a notebook's, or a test's
        return stream, None
    assert isinstance(stream, io.TextIOWrapper)
    stream.flush()
    output = _Output(descriptor, "w", closefd=False)
    at_once = descriptor == 2 or output.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(output), stream.encoding, "backslashreplace", line_buffering=at_once
    ), output
