"""The search space: Hydra's sweep grammar, what the command line changes, what is rejected."""

import re

import pytest

from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.tuning.space import Parameter, override_space, parse, read_space


@pytest.mark.parametrize(
    ("typed", "parameter"),
    [
        ("interval(0.1,0.5)", Parameter("interval(0.1,0.5)", 0.1, 0.5)),
        ("int(interval(1,8))", Parameter("int(interval(1,8))", 1, 8)),
        ("tag(log, interval(1e-4, 1e-2))", Parameter("tag(log, interval(1e-4, 1e-2))", 1e-4, 1e-2, log=True)),
        ("range(1,10,3)", Parameter("range(1,10,3)", 1, 7, 3)),
        ("range(0,1,0.25)", Parameter("range(0,1,0.25)", 0.0, 0.75, 0.25)),
        ("1,2.5,true,null", Parameter("1,2.5,true,null", choices=(1, 2.5, True, None))),
        ("choice([64],[128,64])", Parameter("choice([64],[128,64])", choices=("[64]", "[128,64]"))),
        ("adam,sgd", Parameter("adam,sgd", choices=("adam", "sgd"))),
    ],
)
def test_line_is_parsed_as_hydra_parses_a_sweep(typed, parameter):
    assert parse("some.key", typed) == parameter


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("interval(2,1)", "search.space.a.b=interval(2,1): empty"),
        ("interval(1,1)", "empty, needs at least two values"),
        ("range(3,1)", "empty"),
        ("choice()", "must be interval(LOW,HIGH)"),
        ("choice(5)", "empty"),
        ("0.1", "a single value is typed without search.space, a.b=0.1"),
        ("uniform(0,1)", "must be interval(LOW,HIGH)"),
        ("tag(log,interval(0,1))", "on a log scale, the lower end must be above 0"),
        ("tag(exp,interval(1,2))", "unknown tag exp"),
        ("tag(log,range(1,9,2))", "a log scale has no step"),
    ],
)
def test_line_without_two_values_is_rejected(typed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse("a.b", typed)


def test_command_line_replaces_removes_and_fixes_keys_of_the_file():
    file = {"optimizer.lr": "interval(0.1,1)", "model.dropout": "interval(0,0.5)", "seed": "choice(1,2)"}
    typed = ["search.space.optimizer.lr=interval(0.2,0.3)", "~search.space.seed"]
    space = override_space(file, typed, ["model.dropout=0.1"])
    assert space == {"optimizer.lr": Parameter("interval(0.2,0.3)", 0.2, 0.3)}
    with pytest.raises(ValueError, match=r"search\.space: empty"):
        override_space({}, [], [])
    with pytest.raises(ValueError, match=r"optimizer\.lr=0\.1 fixes this key"):
        override_space(file, typed, ["optimizer.lr=0.1"])
    with pytest.raises(ValueError, match=r"not in the search space, which has optimizer\.lr"):
        override_space(file, ["~search.space.epochs"], [])


def test_space_of_a_user_replaces_that_of_the_same_name(tmp_path):
    names = {path.stem for path in (CONF / "search").glob("*.yaml")}
    assert names == {"ann", "cnn"}
    for name in names:
        assert override_space(read_space(name, False, []), [], [])
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "ann.yaml").write_text("space:\n  seed: choice(1, 2)\n")
    assert read_space("ann", False, [tmp_path]) == {"seed": "choice(1, 2)"}
    assert read_space("mine", False, [tmp_path]) == {}
    with pytest.raises(ValueError, match="search=mine: allowed are ann, cnn"):
        read_space("mine", True, [tmp_path])
    (tmp_path / "search" / "ann.yaml").write_text("seed: choice(1, 2)\n")
    with pytest.raises(ValueError, match="must have one key, space"):
        read_space("ann", False, [tmp_path])
