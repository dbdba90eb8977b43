"""The search space: conf/search/NAME.yaml in Hydra's sweep grammar, changed by search.space.KEY=... as typed.

Imports no Optuna: a command line is validated before.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.config.constraints import is_int, is_number, to_override

GRAMMAR = "interval(LOW,HIGH), int(interval(LOW,HIGH)), tag(log,interval(LOW,HIGH)), range(START,STOP) or choice(A,B)"


class Parameter(NamedTuple):
    """One key of the space: an interval from low to high, or choices."""

    typed: str
    low: float = 0
    high: float = 0  # included
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()  # numbers, true, false and null as they are, anything else as an override takes it

    def limits(self) -> list[str]:
        """The values to validate, as an override takes them: all choices, or the ends of the interval."""
        return [to_override(value) for value in self.choices or (self.low, self.high)]

    def suggest(self, trial: Any, key: str) -> Any:
        """The value of an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(key, self.choices)
        if is_int(self.low):
            return trial.suggest_int(key, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)


def read_space(name: str, chosen: bool, config_dirs: Sequence[Path]) -> dict[str, str]:
    """The `space` of conf/search/NAME.yaml, or of the same file in the user's directories; empty if there is none.

    Raises:
        ValueError: the file is invalid, or `chosen` on the command line and missing.
    """
    folders = [folder / "search" for folder in (*config_dirs, CONF)]
    path = next((folder / f"{name}.yaml" for folder in folders if (folder / f"{name}.yaml").is_file()), None)
    if path is None:
        if chosen:
            names = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
            raise ValueError(f"search={name}: allowed are {', '.join(names)}")
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML, {error}") from None
    space = content.get("space") if isinstance(content, dict) else None
    if not isinstance(space, dict) or set(content) != {"space"}:
        raise ValueError(f"{path}: must have one key, space, with a line KEY: {GRAMMAR} for each hyperparameter")
    return {str(key): str(value) for key, value in space.items()}


def override_space(space: Mapping[str, str], typed: Sequence[str], fixed: Sequence[str]) -> dict[str, Parameter]:
    """The parsed space with what was typed.

    Args:
        space: of the file.
        typed: search.space.KEY=... and ~search.space.KEY.
        fixed: the other overrides; they remove their keys from the file's space.

    Raises:
        ValueError: a line that cannot be parsed, a key that is both searched and fixed, or an empty space.
    """
    fixed_keys = {override.lstrip("+~").partition("=")[0]: override for override in fixed}
    changed = {key: value for key, value in space.items() if key not in fixed_keys}
    for word in typed:
        key, equals, value = word.lstrip("+~").removeprefix("search.space.").partition("=")
        if word.startswith("~"):
            if key not in space:
                raise ValueError(f"{word}: not in the search space, which has {', '.join(space)}")
            changed.pop(key, None)
        elif key in fixed_keys:
            raise ValueError(f"{word}: {fixed_keys[key]} fixes this key; type one of them")
        elif not equals:
            raise ValueError(f"{word}: type search.space.{key}={GRAMMAR}")
        else:
            changed[key] = value
    if not changed:
        raise ValueError(f"search.space: empty; type search.space.KEY={GRAMMAR}")
    return {key: parse(key, value) for key, value in changed.items()}


def parse(key: str, typed: str) -> Parameter:
    """The parameter of one line; raises ValueError."""
    source = f"search.space.{key}={typed}"
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{key}={typed}"])
    except HydraException:
        raise ValueError(f"{source}: must be {GRAMMAR}") from None
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        parameter = _interval(typed, sweep.start, sweep.end, None, sweep.tags)
    elif isinstance(sweep, RangeSweep):
        values: list[Any] = [Override._convert_value(value) for value in override.sweep_iterator()]
        values.sort()
        low, high = (values[0], values[-1]) if values else (0, 0)
        parameter = _interval(typed, low, high, abs(sweep.step), sweep.tags)
    elif isinstance(sweep, ChoiceSweep) and not sweep.tags:
        texts = override.sweep_string_iterator()
        is_plain = [is_number(value) or value is None or isinstance(value, bool) for value in sweep.list]
        choices = [value if plain else text for value, plain, text in zip(sweep.list, is_plain, texts, strict=True)]
        parameter = Parameter(typed, choices=tuple(choices))
    else:
        raise ValueError(f"{source}: must be {GRAMMAR}; a single value is typed without search.space, {key}={typed}")
    if len(set(map(to_override, parameter.choices))) < 2 and not parameter.low < parameter.high:
        raise ValueError(f"{source}: empty, needs at least two values")
    return parameter


def _interval(typed: str, low: Any, high: Any, step: Any, tags: set[str]) -> Parameter:
    if unknown := tags - {"log"}:
        raise ValueError(f"search.space: {typed}: unknown tag {min(unknown)}; allowed is log")
    log = "log" in tags
    if log and not low > 0:
        raise ValueError(f"search.space: {typed}: on a log scale, the lower end must be above 0")
    if log and step not in (None, 1):
        raise ValueError(f"search.space: {typed}: a log scale has no step; use interval")
    if not (is_int(low) and is_int(high) and (step is None or is_int(step))):
        low, high = float(low), float(high)
    return Parameter(typed, low, high, None if log else step, log)
