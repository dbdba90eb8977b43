"""What a search is: plain data, which travels to the worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from fmnist_lightning.runs.run import Run
from fmnist_lightning.tuning.space import Parameter

PRUNERS = ("median", "hyperband", "none")
# keys that do not change what a trial computes: they may differ between the commands that join a study
_LOCAL = ("data.root", "data.mirrors", "trainer.accelerator", "trainer.devices", "logger", "callbacks.progress")


@dataclass(frozen=True)
class Search:
    """A validated command line.

    Args:
        study: its name in the storage.
        storage: an SQLAlchemy URL, or the path of a journal file.
        folder: of the trials.
        space: the parameters, by key.
        fixed: overrides of all trials.
        config: the values of a trial's configuration, by key.
        config_dir: as --config-dir.
        silent: overrides that remove the progress display.
        monitor: the metric that the search optimizes: that of best.ckpt.
        mode: min or max.
        num_trials: of the study, in total.
        pruner: one of PRUNERS.
        max_epochs: of a trial.
        seed: of the trials, and of the sampler.
        heartbeat: seconds between heartbeats in a database; three missing ones mean that a worker was killed.
        jobs: trials at a time.
        launcher: Hydra's settings of the jobs of a cluster; empty for processes on this machine.
        num_final: seeds with which the best trial is trained and tested.
    """

    study: str
    storage: str
    folder: Path
    space: Mapping[str, Parameter]
    fixed: Sequence[str] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    config_dir: str | None = None
    silent: Sequence[str] = ()
    monitor: str = "val/loss"
    mode: str = "min"
    num_trials: int = 1
    pruner: str = "none"
    max_epochs: int = 1
    seed: int = 0
    heartbeat: int = 20
    jobs: int = 1
    launcher: Mapping[str, Any] = field(default_factory=dict)
    num_final: int = 0

    def run(self, number: int) -> Run:
        """The run of a trial."""
        return Run(self.folder.absolute() / f"trial_{number:04d}")

    def is_database(self) -> bool:
        """Whether the storage is a database, not a journal file."""
        return "://" in self.storage

    def lock(self) -> FileLock:
        """Held while a trial is chosen, by one worker of a machine at a time."""
        return FileLock(self.folder / ".lock" if self.is_database() else f"{self.storage}.trials.lock")

    def settings(self) -> dict[str, str]:
        """What all commands that join the study must agree on."""
        return {
            **{f"search.space.{key}": parameter.typed.replace(" ", "") for key, parameter in self.space.items()},
            **{k: value for k, value in self.config.items() if k not in self.space and not k.startswith(_LOCAL)},
        }
