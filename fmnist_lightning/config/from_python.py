"""Composes the configuration of a run in a notebook or script, validated as on the command line."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.devices import count_devices
from fmnist_lightning.config.validate import validate_command_line


def compose(*overrides: str, config_dir: str | Path | None = None) -> DictConfig:
    """The configuration of one run: `compose("model=ann", "trainer.max_epochs=3")`.

    Args:
        overrides: as typed on the command line.
        config_dir: as --config-dir.

    Raises:
        ValueError: an override is invalid, or needs the command line: several runs, several processes, resuming.
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: what Hydra itself rejects.
    """
    launch = validate_command_line(list(overrides), config_dir=str(config_dir) if config_dir else None)
    trainer = OmegaConf.to_container(launch.cfg.trainer)
    assert isinstance(trainer, dict)
    several = {
        "hydra.mode=MULTIRUN": launch.multirun,
        f"resume={launch.cfg.resume}": launch.cfg.resume is not None,
        f"trainer.devices={trainer['devices']}": count_devices(trainer["accelerator"], trainer["devices"]) > 1,
        f"trainer.num_nodes={trainer['num_nodes']}": trainer["num_nodes"] > 1,
        f"trainer.strategy={trainer['strategy']}": trainer["strategy"] != "auto",
    }
    for setting, needs_command in several.items():
        if needs_command:
            raise ValueError(f"{setting}: only on the command line, python -m fmnist_lightning")
    with launch.composer as composer:
        return composer.compose(launch.overrides)  # launch.cfg does not contain all overrides
