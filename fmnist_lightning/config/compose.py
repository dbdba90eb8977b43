"""Composes configurations as Hydra does for the train command: to validate them, and for commands without Hydra.

`hydra.initialize_config_dir` and `hydra.compose` neither take a --config-dir besides conf/ nor compose for a multirun,
and leave `${hydra:...}` unresolved.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
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
    """Composes configurations within a `with` statement, which restores Hydra's global state at its end.

    It can be entered again, to resolve interpolations of what it composed. Arguments: --config-dir, --config-name.
    """

    def __init__(self, config_dir: str | None = None, config_name: str = CONFIG_NAME) -> None:
        self.config_dir, self.config_name = config_dir, config_name
        self._hydra: Hydra | None = None
        self._job_config: Any = None  # the configuration that ${hydra:...} reads
        self._saved_state: tuple[Any, Any] = None, None  # Hydra's, outside the with statement
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def __enter__(self) -> Self:
        version.setbase("1.3")
        self._saved_state = get_gh_backup(), HydraConfig.instance().cfg
        GlobalHydra.instance().clear()
        if self._hydra is not None:
            GlobalHydra.instance().initialize(self._hydra)
            HydraConfig.instance().cfg = self._job_config
            return self
        search_path = create_config_search_path(str(CONF))
        if self.config_dir:  # where hydra.main puts it
            anchor = SearchPathQuery(provider="schema")
            search_path.prepend("command-line", f"file://{Path(self.config_dir).resolve()}", anchor)
        self._hydra = Hydra.create_main_hydra2("fmnist", search_path)
        return self

    def __exit__(self, *error: object) -> None:
        backup, job_config = self._saved_state
        self._job_config = HydraConfig.instance().cfg
        GlobalHydra.instance().clear()
        restore_gh_from_backup(backup)
        HydraConfig.instance().cfg = job_config

    @property
    def loader(self) -> ConfigLoader:
        """Hydra's config loader, which knows the config groups."""
        assert self._hydra is not None
        return self._hydra.config_loader

    def compose(self, overrides: Sequence[str], run_mode: RunMode = RunMode.RUN) -> DictConfig:
        """The configuration with these overrides, and with Hydra's own node; raises HydraException."""
        assert self._hydra is not None
        cfg = self._hydra.compose_config(
            self.config_name,
            list(overrides),
            run_mode,
            with_log_configuration=False,
            from_shell=False,
            validate_sweep_overrides=run_mode is RunMode.RUN,
        )
        set_hydra_config(cfg)
        return cfg

    def compose_groups(self, groups: Sequence[Override]) -> DictConfig:
        """The configuration with these options, composed once; it must not be changed."""
        choice = tuple(override.input_line or "" for override in groups)
        if choice not in self._bases:
            self._bases[choice] = self.compose(choice)
        return self._bases[choice]

    def compose_job(self, groups: Sequence[Override], values: Sequence[Override]) -> DictConfig:
        """As `compose`, for sweeps: composes each choice of groups once and applies the values to a copy."""
        cfg = copy.deepcopy(self.compose_groups(groups))
        settings = cfg.hydra.job.config.override_dirname
        with read_write(cfg.hydra):
            ConfigLoaderImpl._apply_overrides_to_config(list(values), cfg)
            cfg.hydra.job.override_dirname = get_overrides_dirname(
                [override for override in [*groups, *values] if not override.is_hydra_override()],
                settings.exclude_keys,
                settings.item_sep,
                settings.kv_sep,
            )
        set_hydra_config(cfg)
        return cfg


def compose_config(
    overrides: Sequence[str], config_dir: str | None = None, config_name: str = CONFIG_NAME
) -> DictConfig:
    """The configuration with these overrides, and with Hydra's own node."""
    with Composer(config_dir, config_name) as composer:
        return composer.compose(overrides)


def set_hydra_config(cfg: DictConfig, output_dir: str | None = None) -> None:
    """Makes cfg the configuration that `${hydra:...}` reads; the output directory is by default its hydra.run.dir."""
    with read_write(cfg.hydra):
        if OmegaConf.is_missing(cfg.hydra.job, "num"):
            cfg.hydra.job.num, cfg.hydra.job.id = 0, "0"
    HydraConfig.instance().set_config(cfg)
    with read_write(cfg.hydra.runtime):
        cfg.hydra.runtime.output_dir = output_dir or str(Path(cfg.hydra.run.dir).absolute())


def unresolved(node: DictConfig, key: str) -> str:
    """The value of a key, such as dir of hydra.run, with its interpolations not resolved."""
    values = OmegaConf.to_container(node, resolve=False)
    assert isinstance(values, dict)
    return str(values[key])


def without_hydra(cfg: DictConfig) -> DictConfig:
    """A composed configuration without Hydra's own node."""
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
