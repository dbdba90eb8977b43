from collections.abc import Callable

import pytest

from fmnist_lightning.__main__ import validate
from fmnist_lightning.config.command_line import parse_command_line
from fmnist_lightning.config.launch import Launch


@pytest.fixture
def validate_command() -> Callable[..., Launch]:
    """Validates a command line as the command does, directories included."""
    return lambda *argv: validate(parse_command_line(argv))
