"""Composes configurations as the train command does, before it does: for checks, and for commands without Hydra.

The same search path as Hydra's own (`conf/`, then --config-dir, then hydra.searchpath), the same primary config
(--config-name), and `${hydra:...}` resolved as in a job.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from fmnist_lightning.config.config_files import CONF

CONFIG_NAME = "config"


class Composer:
    """Composes configurations from overrides.

    Args:
        hydra: initialized with the command's search path.
        config_name: the primary config.
    """

    def __init__(self, hydra: Hydra, config_name: str = CONFIG_NAME) -> None:
        self.hydra, self.config_name = hydra, config_name
        self.loader = hydra.config_loader
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str], run_mode: RunMode = RunMode.RUN) -> DictConfig:
        """The configuration of some overrides, with Hydra's own node.

        Raises:
            hydra.errors.HydraException: an override that Hydra rejects.
        """
        cfg = self.hydra.compose_config(
            self.config_name,
            list(overrides),
            run_mode,
            with_log_configuration=False,
            from_shell=False,
            validate_sweep_overrides=run_mode is RunMode.RUN,
        )
        set_job(cfg)
        return cfg

    def compose_job(self, groups: Sequence[Override], values: Sequence[Override]) -> DictConfig:
        """The same, much faster where many jobs choose the same groups: composed once per choice of groups."""
        choice = tuple(override.input_line or "" for override in groups)
        if choice not in self._bases:
            self._bases[choice] = self.compose(choice)
        cfg = copy.deepcopy(self._bases[choice])
        settings = cfg.hydra.job.config.override_dirname
        with read_write(cfg.hydra):
            ConfigLoaderImpl._apply_overrides_to_config(list(values), cfg)
            cfg.hydra.job.override_dirname = get_overrides_dirname(
                [override for override in [*groups, *values] if not override.is_hydra_override()],
                settings.exclude_keys,
                settings.item_sep,
                settings.kv_sep,
            )
        set_job(cfg)
        return cfg


@contextmanager
def composer(config_dir: str | None = None, config_name: str = CONFIG_NAME) -> Iterator[Composer]:
    """A composer with the search path of `--config-dir`; Hydra's global state is restored afterwards.

    Args:
        config_dir: a directory with more config files, as of --config-dir.
        config_name: the primary config, as of --config-name.
    """
    version.setbase("1.3")
    backup, job = get_gh_backup(), HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        search_path = create_config_search_path(str(CONF))
        if config_dir:  # where hydra.main puts it
            anchor = SearchPathQuery(provider="schema")
            search_path.prepend("command-line", f"file://{Path(config_dir).resolve()}", anchor)
        yield Composer(Hydra.create_main_hydra2("fmnist", search_path), config_name)
    finally:
        GlobalHydra.instance().clear()
        restore_gh_from_backup(backup)
        HydraConfig.instance().cfg = job


def composed(overrides: Sequence[str], config_dir: str | None = None, config_name: str = CONFIG_NAME) -> DictConfig:
    """The configuration that overrides ask for, with Hydra's own node."""
    with composer(config_dir, config_name) as here:
        return here.compose(overrides)


def set_job(cfg: DictConfig, output_dir: str | None = None) -> None:
    """Makes cfg the configuration that `${hydra:...}` reads, with the output directory that its job would have."""
    with read_write(cfg.hydra):
        if OmegaConf.is_missing(cfg.hydra.job, "num"):
            cfg.hydra.job.num, cfg.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(cfg)
    with read_write(cfg.hydra.runtime):
        cfg.hydra.runtime.output_dir = output_dir or str(Path(cfg.hydra.run.dir).absolute())


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own node."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
