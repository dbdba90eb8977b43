"""The arguments of lightning.Trainer that +trainer.KEY= takes, read from its signature without importing it."""

import ast
import difflib
import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fmnist_lightning.config.config_files import CONF
from fmnist_lightning.config.constraints import to_override
from fmnist_lightning.config.schema import SCHEMA

# arguments that this package sets or that have no effect here, and the alternative
REJECTED = {
    "barebones": "it trains without metrics and checkpoints; use +trainer.fast_dev_run=true for a quick try",
    "callbacks": "use the config group callbacks",
    "check_val_every_n_epoch": "every epoch is validated: early stopping and the best checkpoint need it",
    "default_root_dir": "use hydra.run.dir=DIR",
    "enable_checkpointing": "every run writes checkpoints/best.ckpt and last.ckpt",
    "enable_model_summary": "summary.json has the number of parameters, TensorBoard the graph",
    "enable_progress_bar": "use ~callbacks.progress",
    "limit_predict_batches": "there is no prediction loop",
    "limit_test_batches": "the test set is always scored completely; leave it out",
    "logger": "use the config group logger: logger=csv",
    "model_registry": "use checkpoints/best.ckpt",
    "plugins": "use trainer.precision and trainer.strategy",
    "use_distributed_sampler": "the data module distributes the images itself",
}
_WORDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "text", "None": "null"}
_WORDS |= {"dict": "a dictionary", "list": "a list"}
_TYPES: dict[str, Any] = {"int": int, "float": int | float, "bool": bool, "str": str, "None": type(None)}
_TYPES |= {"dict": Mapping, "list": list | tuple}


@functools.cache
def trainer_arguments() -> dict[str, list[str]]:
    """Each argument of lightning.Trainer, with the built-in types that its annotation allows."""
    spec = importlib.util.find_spec("lightning")  # inspect.signature would import torch, which takes seconds
    assert spec and spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0], "pytorch", "trainer", "trainer.py").read_text()
    trainer = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Trainer")
    init = next(n for n in trainer.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    types: dict[str, list[str]] = {}
    for argument in init.args.kwonlyargs:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        words = re.findall(r"\w+", re.sub(r"\b(dict|list)\[[^]]*]", r"\1", annotation))
        words = ["None" if word == "Optional" else word for word in words]
        types[argument.arg] = [word for word in _TYPES if word in words]
    return types


def check_trainer_argument(name: str, value: Any) -> None:
    """Rejects an argument that lightning.Trainer lacks, that this package sets, or that has the wrong type."""
    types = trainer_arguments()
    if name not in types:
        near = difflib.get_close_matches(name, types.keys() - REJECTED.keys(), n=1)
        in_conf = yaml.safe_load((CONF / "trainer" / "default.yaml").read_text())
        hint = f"; did you mean {'' if near[0] in in_conf else '+'}trainer.{near[0]}?" if near else ""
        raise ValueError(f"trainer.{name}: lightning.Trainer has no such argument{hint}")
    if name in REJECTED:
        raise ValueError(f"trainer.{name}: set by fmnist_lightning; {REJECTED[name]}")
    allowed = types[name]
    # true and false are integers in Python
    types_of_value = [word for word in allowed if isinstance(value, _TYPES[word])]
    if not ("bool" in types_of_value if isinstance(value, bool) else types_of_value):
        raise ValueError(
            f"trainer.{name}={to_override(value)}: must be {' or '.join(_WORDS[word] for word in allowed)}"
        )


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Validates the arguments in cfg.trainer that the schema does not have."""
    for name, value in trainer.items():
        if f"trainer.{name}" not in SCHEMA:
            check_trainer_argument(name, value)


def is_trainer_argument(key: str) -> bool:
    """Whether a key such as trainer.max_time may be added to a configuration."""
    group, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    return group == "trainer" and name in trainer_arguments() and name not in REJECTED
