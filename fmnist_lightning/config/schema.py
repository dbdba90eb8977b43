"""The schema: the values that each key takes, for the command line and (`validate_values`) for notebooks."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.config_files import walk
from fmnist_lightning.config.constraints import Constraint, integer, is_int, is_list, number, one_of, to_override
from fmnist_lightning.config.monitored import MONITORED, mode_contradiction


def _sizes(low: int, high: int) -> Constraint:
    return Constraint(
        f"a list of {low} to {high} integers above 0, such as [32,64]",
        lambda v: is_list(v) and low <= len(v) <= high and all(is_int(n) and n > 0 for n in v),
    )


def _optional(constraint: Constraint) -> Constraint:
    return Constraint(f"null or {constraint.allowed}", lambda v: v is None or constraint.is_valid(v))


_FLAG = Constraint("true or false", lambda v: isinstance(v, bool))
_AT_LEAST_0 = number("of at least 0", lambda v: 0 <= v < float("inf"))
_ABOVE_0 = number("above 0", lambda v: 0 < v < float("inf"))
_BELOW_1 = number("from 0 to below 1", lambda v: 0 <= v < 1)
_FRACTION = number("between 0 and 1, both excluded", lambda v: 0 < v < 1)
_SEED = integer(0, 2**32 - 1)
_NUM_BATCHES = Constraint(
    "a fraction above 0.0 and up to 1.0, or an integer number of batches, at least 1",
    lambda v: v >= 1 if is_int(v) else isinstance(v, float) and 0 < v <= 1,
)
_MONITORED = one_of(*MONITORED)
_MODE = one_of("auto", "min", "max")
_RUN_DIRECTORY = Constraint("empty: event files are written to the run directory itself", lambda v: v == "")

SCHEMA: dict[str, Constraint] = {
    "resume": Constraint(
        "null, auto, or the directory of a run", lambda v: v is None or (isinstance(v, str) and v != "")
    ),
    "seed": _SEED,
    "data.source": one_of("fashion_mnist", "synthetic", "auto"),
    "data.root": Constraint("a directory", lambda v: isinstance(v, str) and v != ""),
    "data.mirrors": Constraint(
        "a list of directories or URLs", lambda v: is_list(v) and all(isinstance(m, str) for m in v)
    ),
    "data.batch_size": integer(1),
    "data.val_fraction": _FRACTION,
    "data.train_fraction": number("above 0 and up to 1", lambda v: 0 < v <= 1),
    "data.split_seed": _SEED,
    "data.augment": Constraint(
        "true, false, photos or a list of flip, crop, erase, such as [flip,erase]",
        lambda v: (
            one_of(True, False, "photos").is_valid(v)
            or (is_list(v) and all(name in ("flip", "crop", "erase") for name in v) and len(set(v)) == len(v))
        ),
    ),
    "data.crop_padding": integer(0, 28),
    "data.erase_probability": number("from 0 to 1", lambda v: 0 <= v <= 1),
    "data.erase_area": Constraint(
        "a list of two numbers between 0 and 1, the smaller one first, such as [0.02,0.2]",
        lambda v: is_list(v) and len(v) == 2 and all(map(_FRACTION.is_valid, v)) and v[0] <= v[1],
    ),
    "data.num_train": integer(20),
    "data.num_test": integer(10),
    "model.hidden": _sizes(0, 10),
    "model.filters": _sizes(1, 4),  # 28 -> 14 -> 7 -> 3 -> 1: a fifth pooling would have nothing to pool
    "model.kernel_size": Constraint("an odd integer, at least 1", lambda v: is_int(v) and v >= 1 and v % 2 == 1),
    "model.padding": one_of("same", "valid"),
    "model.head": _sizes(0, 10),
    "model.dropout": _BELOW_1,
    "model.batch_norm": _FLAG,
    "model.label_smoothing": _BELOW_1,
    "optimizer.lr": _ABOVE_0,
    "optimizer.lr_factor": _ABOVE_0,
    "optimizer.betas": Constraint(
        "a list of two numbers from 0 to below 1",
        lambda v: is_list(v) and len(v) == 2 and all(map(_BELOW_1.is_valid, v)),
    ),
    "optimizer.eps": _ABOVE_0,
    "optimizer.weight_decay": _AT_LEAST_0,
    "optimizer.momentum": _BELOW_1,
    "scheduler.pct_start": _FRACTION,
    "scheduler.anneal_strategy": one_of("cos", "linear"),
    "scheduler.max_lr": _ABOVE_0,  # of runs stored by version 0.1
    "scheduler.div_factor": _ABOVE_0,
    "scheduler.final_div_factor": _ABOVE_0,
    "scheduler.eta_min": _AT_LEAST_0,
    "trainer.accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.devices": Constraint(
        "an integer, at least 1, a list of device indices such as [0,1], or auto",
        lambda v: v == "auto" or integer(1).is_valid(v) or (is_list(v) and v and all(map(integer(0).is_valid, v))),
    ),
    "trainer.num_nodes": integer(1),
    "trainer.strategy": one_of("auto", "ddp"),
    "trainer.precision": one_of("auto", "32-true", "bf16-mixed", "16-mixed"),
    "trainer.max_epochs": integer(1),
    "trainer.limit_train_batches": _NUM_BATCHES,
    "trainer.limit_val_batches": _NUM_BATCHES,
    "trainer.gradient_clip_val": _optional(_ABOVE_0),
    "trainer.accumulate_grad_batches": integer(1),
    "trainer.deterministic": one_of(True, False, "warn"),
    "trainer.benchmark": one_of(None, True, False),
    "trainer.detect_anomaly": _FLAG,
    "trainer.num_sanity_val_steps": integer(0),
    # arguments of lightning.Trainer that +trainer.KEY adds, where their type alone does not say what they take
    "trainer.fast_dev_run": Constraint(
        "true, false or a number of batches", lambda v: isinstance(v, bool) or is_int(v)
    ),
    "trainer.gradient_clip_algorithm": one_of(None, "norm", "value"),
    "trainer.max_steps": Constraint(
        "an integer, at least 1, or -1 for no limit", lambda v: is_int(v) and v != 0 and v >= -1
    ),
    "trainer.overfit_batches": Constraint(
        "a fraction from 0.0 to 1.0, or an integer number of batches, at least 1",
        lambda v: v >= 0 if is_int(v) else isinstance(v, float) and 0 <= v <= 1,
    ),
    "trainer.profiler": one_of(None, "simple", "advanced", "pytorch"),
    "trainer.val_check_interval": Constraint(
        "a fraction of an epoch above 0.0 and up to 1.0, or an integer number of batches, at least 1",
        _NUM_BATCHES.is_valid,
    ),
    "logger.tensorboard.name": _RUN_DIRECTORY,
    "logger.tensorboard.version": _RUN_DIRECTORY,
    "callbacks.epoch_metrics.histograms": _FLAG,
    "callbacks.best_checkpoint.monitor": _MONITORED,
    "callbacks.best_checkpoint.filename": one_of("best"),  # a name that programs rely on
    "callbacks.best_checkpoint.mode": _MODE,
    "callbacks.checkpoint.every_n_train_steps": _optional(integer(1)),
    "callbacks.ema.decay": _FRACTION,
    "callbacks.distillation.teachers": Constraint(
        "a list of run directories or patterns, such as [outputs/A,outputs/B]",
        lambda v: is_list(v) and v and all(isinstance(path, str) and path for path in v),
    ),
    "callbacks.distillation.temperature": _ABOVE_0,
    "callbacks.distillation.label_weight": _BELOW_1,
    "callbacks.early_stopping.monitor": _MONITORED,
    "callbacks.early_stopping.mode": _MODE,
    "callbacks.early_stopping.patience": integer(1),
    "callbacks.early_stopping.min_delta": _AT_LEAST_0,
}


def flatten_keys(cfg: Any) -> list[str]:
    """Every key of cfg as a dotted path, groups included, without the items of lists; nothing is resolved."""
    return [key for key, _, _ in walk(OmegaConf.to_container(cfg, resolve=False)) if "[]" not in key]


def first_violation(cfg: DictConfig) -> str | None:
    """The error message for the first value that the schema does not allow; None if all are valid."""
    for key in sorted(SCHEMA.keys() & set(flatten_keys(cfg))):
        value = OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if violation := _violation(key, value):
            return violation
    return mode_contradiction(cfg.callbacks)


def _violation(key: str, value: Any) -> str | None:
    return None if SCHEMA[key].is_valid(value) else f"{key}={to_override(value)}: must be {SCHEMA[key].allowed}"


def validate_values(**values: Any) -> None:
    """Rejects a value that the schema does not allow, with a ValueError; in a key `__` stands for a dot."""
    for name, value in values.items():
        if violation := _violation(name.replace("__", "."), value):
            raise ValueError(violation)
