"""What may be typed for a plan of runs: its size, its seeds, and overrides of the data and the device."""

from collections.abc import Sequence

ALLOWED_OVERRIDES = (
    *(f"data{key}" for key in ("", ".root", ".mirrors", ".num_train", ".num_test")),
    *("trainer.accelerator", "trainer.precision"),
)
SIZES = ("full", "quick")


def parse_seeds(command: str, typed: str, first: int = 0) -> list[int]:
    """The seeds of COMMAND.seeds: how many, from the first one on, or a list such as [0,3,7].

    Raises:
        ValueError: neither of them, or a seed that is listed twice.
    """
    listed = typed.strip("[]").split(",")
    if not all(number.strip().isdecimal() for number in listed) or typed == "0":
        raise ValueError(f"{command}.seeds={typed}: must be how many seeds, at least 1, or a list such as [0,3,7]")
    numbers = [int(number) for number in listed]
    if len(numbers) == 1 and not typed.startswith("["):
        return list(range(first, first + numbers[0]))
    if repeated := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise ValueError(f"{command}.seeds={typed}: {repeated[0]} is listed twice; each seed is one run")
    return numbers


def check_overrides(command: str, overrides: Sequence[str]) -> None:
    """Rejects overrides of what the planned runs fix.

    Raises:
        ValueError: naming the first one.
    """
    for override in overrides:
        if override.partition("=")[0] not in ALLOWED_OVERRIDES:
            allowed = ", ".join([f"{command}.KEY (--help lists them)", *ALLOWED_OVERRIDES])
            raise ValueError(f"{override}: the plan of the runs fixes this; allowed are {allowed}")
