from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fmnist_lightning.config.arguments import argument, parse_arguments
from fmnist_lightning.config.constraints import integer, one_of


@dataclass
class Export:
    run: str = argument("run=DIR", missing="a run's directory")
    format: str = argument("format=NAME", "onnx", one_of("onnx", "torchscript"))
    config_dir: str | None = argument("--config-dir=DIR", None)


@dataclass
class Search:
    trials: int = argument("search.trials=N", 5, integer(1))
    overrides: list[str] = field(default_factory=list)


def test_arguments_are_parsed_into_the_dataclass_of_a_command():
    assert parse_arguments(Export, ["run=a=b"]) == Export("a=b", "onnx", None)
    assert parse_arguments(Export, ["--config-dir", "mine", "run=x"]) == Export("x", config_dir="mine")
    assert parse_arguments(Export, ["--config-dir=mine", "run=x"]) == Export("x", config_dir="mine")
    assert parse_arguments(Export, ["run=~/x"]) == Export(str(Path.home() / "x"))
    assert parse_arguments(Search, ["model=ann", "search.trials=7", "seed=1"]) == Search(7, ["model=ann", "seed=1"])


@pytest.mark.parametrize(
    ("cls", "typed", "message"),
    [
        (Export, ["rum=x"], "rum=x: no such argument; did you mean run=x? Allowed are run=DIR, format=NAME"),
        (Export, ["outputs"], "outputs: no such argument; did you mean run=outputs? Allowed are run=DIR"),
        (Export, ["format/ann"], "format/ann: no such argument; did you mean run=format/ann? Allowed are run=DIR"),
        (Export, ["--run", "outputs"], "--run: no such argument; did you mean run=outputs?"),
        (Export, ["--format=onnx"], "--format=onnx: no such argument; did you mean format=onnx?"),
        (Export, ["--verbose"], "--verbose: no such argument. Allowed are run=DIR"),
        (Export, [], "run=DIR is missing: a run's directory"),
        (Export, ["run=x", "format=onx"], "format=onx: must be one of onnx, torchscript"),
        (Search, ["search.trial=7"], "did you mean search.trials=7?"),
        (Search, ["trial=7"], "trial=7: no such argument; did you mean search.trials=7?"),
        (Export, ["run=[A,", "B]"], "run=[A,: ] is missing; a list has no spaces, or is in quotes: 'run=[A, B]'"),
        (Search, ["search.trials=7.5"], "search.trials=7.5: must be"),
        (Search, ["search.trials=1,2"], "search.trials=1,2: must be"),
    ],
)
def test_invalid_arguments_are_rejected_with_what_is_allowed(cls, typed, message):
    with pytest.raises(ValueError) as rejection:
        parse_arguments(cls, typed)
    assert message in str(rejection.value)
