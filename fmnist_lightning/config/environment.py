"""What a shell or a notebook holds for other programs does not change a run: the start and end of every command."""

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

    A terminal that lacks a character shows its escape sequence. Output that cannot be written is dropped, so that it
    never ends a run, and the command exits with 1 and says so at its end.
    """
    output = tolerate_streams()
    if output:  # the processes that this one starts do the same
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
    """Has the standard streams drop what cannot be written, also in a process that a launcher started.

    Returns:
        Standard output, which keeps the first error; None where it is not this process's own.
    """
    sys.stdout, output = _tolerant(sys.stdout, 1)
    sys.stderr, _ = _tolerant(sys.stderr, 2)
    return output


def _ignore_variables() -> None:
    """Removes variables that would change results, for the processes that this one starts too, and names them."""
    os.environ["MPLBACKEND"] = "agg"  # a notebook's is not installed everywhere; figures are drawn into files
    ignored = sorted(name for name in os.environ if name.startswith(_IGNORED))
    for name in ignored:
        del os.environ[name]
    if ignored:
        print(
            f"ignored environment variables: {', '.join(ignored)}; trainer arguments are overrides: trainer.KEY=VALUE",
            file=sys.stderr,
        )


class _Output(io.FileIO):
    """A standard stream that drops what cannot be written, and keeps the first error."""

    error: OSError | None = None

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Writes, or drops the data; the number of bytes."""
        try:
            return super().write(data)
        except OSError as error:
            self.error = self.error or error
            return len(data)


def _tolerant(stream: TextIO | None, descriptor: int) -> tuple[TextIO, _Output | None]:
    """The stream, with what its encoding lacks escaped; where it is this process's own, also its _Output."""
    if stream is None:  # closed by the shell: else the next file that is opened would get its descriptor
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
