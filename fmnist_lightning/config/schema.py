"""Which values each override takes, written once.

The command line refuses by this table before anything is imported or created; the classes that receive the
values refuse by it too (`require`), so that a notebook gets the same message. No torch here.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.monitored import MONITORED, wrong_mode


class Limit(NamedTuple):
    """The values that one key takes: in words for a user, and as a test."""

    allowed: str
    holds: Callable[[Any], bool]


def spelling(value: object) -> str:
    """The value as a user types it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def is_whole(value: object) -> bool:
    """Whether value is an integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether value is an integer or a float; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: object) -> bool:
    """Whether value is a list or a tuple."""
    return isinstance(value, list | tuple)


def _whole(low: int, high: int | None = None) -> Limit:
    words = f"a whole number from {low} to {high}" if high is not None else f"a whole number, at least {low}"
    return Limit(words, lambda v: is_whole(v) and low <= v and (high is None or v <= high))


def _number(words: str, holds: Callable[[float], bool]) -> Limit:
    return Limit(f"a number {words}", lambda v: is_number(v) and holds(v))


def _one_of(*options: Any) -> Limit:
    words = "one of " + ", ".join(map(spelling, options))
    return Limit(words, lambda v: any(v == option and type(v) is type(option) for option in options))


def _sizes(low: int, high: int) -> Limit:
    words = f"a list of {low} to {high} whole numbers above 0, such as [32,64]"
    return Limit(words, lambda v: is_list(v) and low <= len(v) <= high and all(is_whole(n) and n > 0 for n in v))


_FLAG = Limit("true or false", lambda v: isinstance(v, bool))
_AT_LEAST_0 = _number("of at least 0", lambda v: 0 <= v < float("inf"))
_ABOVE_0 = _number("above 0", lambda v: 0 < v < float("inf"))
_UP_TO_1 = _number("from 0 to below 1", lambda v: 0 <= v < 1)
_WITHIN_1 = _number("between 0 and 1, both excluded", lambda v: 0 < v < 1)
_SEED = _whole(0, 2**32 - 1)
_BATCHES = Limit(
    "a share above 0.0 and up to 1.0, or a whole number of batches, at least 1",
    lambda v: v >= 1 if is_whole(v) else isinstance(v, float) and 0 < v <= 1,
)
_MONITORED = _one_of(*MONITORED)
_MODE = _one_of("auto", "min", "max")
_IN_THE_RUN_FOLDER = Limit("empty: event files lie in the run folder itself", lambda v: v == "")

LIMITS: dict[str, Limit] = {
    "resume": Limit("null, auto, or the folder of a run", lambda v: v is None or (isinstance(v, str) and v != "")),
    "seed": _SEED,
    "data.source": _one_of("fashion_mnist", "synthetic", "auto"),
    "data.root": Limit("a folder", lambda v: isinstance(v, str) and v != ""),
    "data.mirrors": Limit("a list of folders or URLs", lambda v: is_list(v) and all(isinstance(m, str) for m in v)),
    "data.batch_size": _whole(1),
    "data.val_fraction": _WITHIN_1,
    "data.train_fraction": _number("above 0 and up to 1", lambda v: 0 < v <= 1),
    "data.split_seed": _SEED,
    "data.augment": _FLAG,
    "data.num_train": _whole(20),
    "data.num_test": _whole(10),
    "model.hidden": _sizes(0, 10),
    "model.filters": _sizes(1, 4),  # 28 -> 14 -> 7 -> 3 -> 1: a fifth pooling would have nothing to pool
    "model.kernel_size": Limit("an odd whole number, at least 1", lambda v: is_whole(v) and v >= 1 and v % 2 == 1),
    "model.padding": _one_of("same", "valid"),
    "model.head": _sizes(0, 10),
    "model.dropout": _UP_TO_1,
    "model.batch_norm": _FLAG,
    "optimizer.lr": _ABOVE_0,
    "optimizer.betas": Limit(
        "two numbers from 0 to below 1", lambda v: is_list(v) and len(v) == 2 and all(map(_UP_TO_1.holds, v))
    ),
    "optimizer.eps": _ABOVE_0,
    "optimizer.weight_decay": _AT_LEAST_0,
    "optimizer.momentum": _UP_TO_1,
    "scheduler.pct_start": _WITHIN_1,
    "scheduler.max_lr": _ABOVE_0,  # of runs stored by version 0.1
    "scheduler.div_factor": _ABOVE_0,
    "scheduler.final_div_factor": _ABOVE_0,
    "scheduler.eta_min": _AT_LEAST_0,
    "trainer.accelerator": _one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.devices": Limit(
        "a whole number, at least 1, a list of device numbers such as [0,1], or auto",
        lambda v: (
            v == "auto"
            or (is_whole(v) and v >= 1)
            or (is_list(v) and len(v) > 0 and all(is_whole(n) and n >= 0 for n in v))
        ),
    ),
    "trainer.num_nodes": _whole(1),
    "trainer.strategy": _one_of("auto", "ddp"),
    "trainer.precision": _one_of("auto", "32-true", "bf16-mixed", "16-mixed"),
    "trainer.max_epochs": _whole(1),
    "trainer.limit_train_batches": _BATCHES,
    "trainer.limit_val_batches": _BATCHES,
    "trainer.gradient_clip_val": Limit("null or a number above 0", lambda v: v is None or _ABOVE_0.holds(v)),
    "trainer.accumulate_grad_batches": _whole(1),
    "trainer.deterministic": _one_of(True, False, "warn"),
    "trainer.benchmark": _one_of(None, True, False),
    "trainer.detect_anomaly": _FLAG,
    "trainer.num_sanity_val_steps": _whole(0),
    # arguments of lightning.Trainer that +trainer.KEY adds, where their type alone does not say what they take
    "trainer.fast_dev_run": Limit("true, false or a number of batches", lambda v: isinstance(v, bool) or is_whole(v)),
    "trainer.gradient_clip_algorithm": _one_of(None, "norm", "value"),
    "trainer.max_steps": Limit(
        "a whole number, at least 1, or -1 for no limit", lambda v: is_whole(v) and v != 0 and v >= -1
    ),
    "trainer.overfit_batches": Limit(
        "a share from 0.0 to 1.0, or a whole number of batches, at least 1",
        lambda v: v >= 0 if is_whole(v) else isinstance(v, float) and 0 <= v <= 1,
    ),
    "trainer.profiler": _one_of(None, "simple", "advanced", "pytorch"),
    "trainer.val_check_interval": Limit(
        "a share of an epoch above 0.0 and up to 1.0, or a whole number of batches, at least 1", _BATCHES.holds
    ),
    "logger.tensorboard.name": _IN_THE_RUN_FOLDER,
    "logger.tensorboard.version": _IN_THE_RUN_FOLDER,
    "callbacks.epoch_metrics.histograms": _FLAG,
    "callbacks.best_checkpoint.monitor": _MONITORED,
    "callbacks.best_checkpoint.filename": _one_of("best"),  # a name that programs rely on
    "callbacks.best_checkpoint.mode": _MODE,
    "callbacks.checkpoint.every_n_train_steps": Limit(
        "null or a whole number, at least 1", lambda v: v is None or (is_whole(v) and v >= 1)
    ),
    "callbacks.early_stopping.monitor": _MONITORED,
    "callbacks.early_stopping.mode": _MODE,
    "callbacks.early_stopping.patience": _whole(1),
    "callbacks.early_stopping.min_delta": _AT_LEAST_0,
}


def keys_of(cfg: Any) -> list[str]:
    """Every key of cfg with its dots, groups included; nothing is resolved."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for key, child in node.items() if isinstance(node, dict) else ():
            yield f"{prefix}{key}"
            yield from walk(child, f"{prefix}{key}.")

    return list(walk(OmegaConf.to_container(cfg, resolve=False), ""))


def beyond_limits(cfg: DictConfig) -> str | None:
    """What is wrong with the first value of a configuration that is outside its limit; None where all are within."""
    for key in sorted(LIMITS.keys() & set(keys_of(cfg))):
        value = OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if broken := _beyond_limit(key, value):
            return broken
    return wrong_mode(cfg.callbacks)


def _beyond_limit(key: str, value: Any) -> str | None:
    return None if LIMITS[key].holds(value) else f"{key}={spelling(value)}: must be {LIMITS[key].allowed}"


def require(**values: Any) -> None:
    """Refuses a value outside its limit.

    Args:
        values: by the name of the override with each dot as two underscores: `model__dropout=0.5`.

    Raises:
        ValueError: with the override's name, the value and what is allowed.
    """
    for name, value in values.items():
        if broken := _beyond_limit(name.replace("__", "."), value):
            raise ValueError(broken)
