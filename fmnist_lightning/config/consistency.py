"""Validates a composed configuration as a whole: it is complete, and its values are allowed together."""

from collections.abc import Set

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import without_hydra
from fmnist_lightning.config.config_files import GROUPS
from fmnist_lightning.config.extras import check_loggers
from fmnist_lightning.config.schema import first_violation, flatten_keys
from fmnist_lightning.config.trainer_arguments import check_trainer, is_trainer_argument

# without these there is no metrics.csv, best.ckpt or last.ckpt
REQUIRED_CALLBACKS = ("callbacks.epoch_metrics", "callbacks.best_checkpoint", "callbacks.checkpoint")


def validate_config(cfg: DictConfig, known: Set[str] | None = None) -> None:
    """Rejects a configuration that cannot run, wherever its values come from, or that has other keys than `known`.

    Raises:
        ValueError: naming the override to change.
        omegaconf.errors.OmegaConfBaseException: an interpolation that cannot be resolved.
    """
    keys = flatten_keys(cfg)
    added = sorted(set(keys) - known) if known is not None else []
    if unknown := [key for key in added if not key.startswith("hydra.") and not is_trainer_argument(key)]:
        raise ValueError(f"{unknown[0]}: no such key")
    if "experiment" in cfg:  # where Hydra puts the values, and nothing reads them
        raise ValueError("experiment: the first line of its file must be '# @package _global_'")
    OmegaConf.to_container(without_hydra(cfg), resolve=True)
    for group in GROUPS:
        if not OmegaConf.is_dict(cfg.get(group)):
            raise ValueError(f"{group}: missing from the configuration; choose an option: {group}=...")
    for key in REQUIRED_CALLBACKS:
        if OmegaConf.select(cfg, key) is None:
            raise ValueError(f"{key}: missing from the configuration, and no run is complete without it")
    check_trainer(cfg.trainer)
    check_loggers(cfg.logger)
    if violation := first_violation(cfg):
        raise ValueError(violation)
    if cfg.data.batch_size == 1 and "model.batch_norm" in keys and cfg.model.batch_norm:
        raise ValueError("data.batch_size=1: batch normalization needs 2 images or more; add model.batch_norm=false")
    without_labels = "callbacks.distillation.label_weight" in keys and cfg.callbacks.distillation.label_weight == 0
    if without_labels and "model.label_smoothing" in keys and cfg.model.label_smoothing:
        raise ValueError(
            f"model.label_smoothing={cfg.model.label_smoothing}: has no effect, as the labels have no weight; raise "
            "callbacks.distillation.label_weight or add model.label_smoothing=0.0"
        )
    if "optimizer.nesterov" in keys and cfg.optimizer.nesterov and cfg.optimizer.momentum == 0:
        raise ValueError("optimizer.momentum=0: Nesterov's method needs one above 0; add optimizer.nesterov=false")
    for key in ("model.hidden", "model.head"):
        if "optimizer.lr_factor" in keys and key in keys and not OmegaConf.select(cfg, key):
            raise ValueError(f"{key}=[]: optimizer=muon needs a hidden dense layer; use optimizer=adamw")
    clips = cfg.trainer.gradient_clip_val is not None and cfg.trainer.precision not in ("auto", "32-true")
    if clips and "optimizer.fused" in keys and cfg.optimizer.fused:
        raise ValueError(
            f"trainer.gradient_clip_val={cfg.trainer.gradient_clip_val}: with precision {cfg.trainer.precision} "
            "gradients are clipped only without fused kernels; add optimizer.fused=false"
        )
