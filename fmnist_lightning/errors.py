"""How a failure is told: one line for the person who gets it, the trace for whoever asks."""

import os


def wants_trace() -> bool:
    """Whether HYDRA_FULL_ERROR=1 asks for the full trace."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


def one_line(error: BaseException) -> str:
    """The message of an error, or of the error that Hydra wrapped while it built an object, on one line."""
    if type(error).__name__ == "InstantiationException" and error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines()]
    message = " ".join(line for line in lines if line and not line.startswith("See https://"))
    told = isinstance(error, ValueError | OSError) or type(error).__module__.startswith(("hydra", "omegaconf"))
    return message if told and message else f"{type(error).__name__}: {message}"
