from collections.abc import Callable

import pytest
from hydra._internal.utils import get_args_parser

from fmnist_lightning.__main__ import validate
from fmnist_lightning.config.launch import Launch


@pytest.fixture
def validate_command() -> Callable[..., Launch]:
    """Validates a command line as the command does, directories included."""
    return lambda *argv: validate(get_args_parser().parse_intermixed_args(list(argv)))
