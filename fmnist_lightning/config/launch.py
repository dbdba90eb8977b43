"""What a validated command line starts: one run, or the jobs of a multirun."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from fmnist_lightning.config.compose import CONFIG_NAME, Composer
from fmnist_lightning.config.overrides import is_group, parse_override, quote


@dataclass(frozen=True)
class Launch:
    """What Hydra starts. Interpolations in its configurations are resolved within `with launch.composer`."""

    composer: Composer
    cfg: DictConfig  # of the run, or of the first job
    overrides: list[str]  # as typed
    multirun: bool
    launcher: str | None  # of a multirun
    sweep_dir: str
    groups: list[list[Override]]  # for each config group that was typed, the options of the jobs
    values: list[list[Override]]  # for each key that was typed, the values of the jobs

    def jobs(self) -> Iterator[DictConfig]:
        """The configurations of all jobs."""
        for choice in itertools.product(itertools.product(*self.groups), itertools.product(*self.values)):
            yield self.composer.compose_job(*choice)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of the job with these overrides."""
        loader = self.composer.loader
        parsed = [parse_override(loader, typed) for typed in overrides]
        groups = [override for override in parsed if is_group(loader, override.key_or_group)]
        return self.composer.compose_job(groups, [override for override in parsed if override not in groups])

    def multirun_overrides(self) -> list[str]:
        """The overrides of a multirun, with the directory that was validated."""
        keys = [typed.lstrip("+").partition("=")[0] for typed in self.overrides]
        overrides = [typed for key, typed in zip(keys, self.overrides, strict=True) if key != "hydra.sweep.dir"]
        return [*overrides, f"hydra.sweep.dir={quote(self.sweep_dir)}"]

    @staticmethod
    def skip_validation_of_batches() -> None:
        """Lets a launcher start at once: Hydra would compose all jobs of a batch before it launches the first."""
        # which takes 70 ms each; validate_command_line has validated them
        Sweeper.validate_batch_is_legal = lambda self, batch: None  # type: ignore[method-assign]

    def config_options(self, multirun_flag: bool) -> list[str]:
        """The flags to repeat a single job: --config-dir, --config-name, hydra.searchpath.

        Args:
            multirun_flag: whether -m was typed; otherwise a config file sets hydra.mode.
        """
        named = self.composer.config_name != CONFIG_NAME
        options = ["--config-dir", self.composer.config_dir] if self.composer.config_dir else []
        options += ["--config-name", self.composer.config_name] if named else []
        options += [typed for typed in self.overrides if typed.startswith("hydra.searchpath=")]
        return options if multirun_flag else [*options, "hydra.mode=RUN"]
