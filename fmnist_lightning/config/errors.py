"""How errors are reported: as one line, or with HYDRA_FULL_ERROR=1 with the full traceback."""

import os
import signal

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

EXIT_SIGINT = 130  # a shell's exit status for a program that Ctrl-C terminated
EXIT_SIGTERM = 143  # that SIGTERM terminated


class Interrupted(BaseException):
    """A signal ended the run. Not an Exception, so that nothing that handles failures catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    @property
    def status(self) -> int:
        """The exit status; SIGUSR1, a cluster's warning, counts as SIGTERM."""
        return EXIT_SIGINT if self.number == signal.SIGINT else EXIT_SIGTERM


def full_traceback() -> bool:
    """Whether HYDRA_FULL_ERROR=1 requests the full traceback."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def format_error(error: BaseException) -> str:
    """The message of an error on one line; that of the cause, if Hydra wrapped it in an InstantiationException."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines()]
    message = " ".join(line for line in lines if line and not line.startswith("See https://"))
    expected = ValueError | OSError | FloatingPointError | MemoryError | HydraException | OmegaConfBaseException
    return message if isinstance(error, expected) and message else f"{type(error).__name__}: {message}"
