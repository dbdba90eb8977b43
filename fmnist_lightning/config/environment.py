"""The environment of a command: variables and streams set up for other programs do not change a run."""

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
    """The environment and the standard streams of a command; a decorator of its main function.

    A character that the terminal's encoding lacks is escaped. Output that cannot be written is dropped, so that it
    never ends a run; the command then exits with 1 and reports it at its end.
    """
    output = tolerate_streams()
    if output:  # also for the processes that this one starts
        os.environ["PYTHONIOENCODING"] = f"{sys.stdout.encoding}:backslashreplace"
    _ignore_variables()
    try:
        yield
    except SystemExit as end:
        if end.code:
            raise
    sys.stdout.flush()
    if output and output.error:
        sys.exit(f"error: standard output: cannot be written ({output.error.strerror}); files on disk are not affected")


def tolerate_streams() -> "_Output | None":
    """Makes the standard streams drop what cannot be written; also for a process that a launcher started.

    Returns:
        Standard output, which stores the first error; None if it is not this process's own.
    """
    sys.stdout, output = _tolerant(sys.stdout, 1)
    sys.stderr, _ = _tolerant(sys.stderr, 2)
    return output


def _ignore_variables() -> None:
    """Removes variables that would change results, also for the processes that this one starts, and reports them."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend is not installed everywhere; figures are written to files
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
        """Writes, or drops the data; the number of bytes."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)


def _tolerant(stream: TextIO | None, descriptor: int) -> tuple[TextIO, _Output | None]:
    """The stream, escaping what its encoding lacks; if it is this process's own, also its _Output."""
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
