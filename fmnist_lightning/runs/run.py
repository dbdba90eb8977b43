"""The layout of a run directory, which one process at a time writes to and no new run overwrites."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.runs import tables
from fmnist_lightning.runs.files import atomic_write, is_intact
from fmnist_lightning.runs.summary import read_summary
from fmnist_lightning.runs.untrusted import read_config

if TYPE_CHECKING:  # a directory without a run is rejected before torch is imported
    from torch import Tensor

SUMMARY = "summary.json"
LOG = "fmnist.log"  # which conf/hydra/job_logging names
TENSORBOARD_FILES = ("projector_config.pbtxt", "hparams.yaml")


class Run:
    """One run directory.

    Args:
        folder: the directory; it need not exist yet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.config_file = self.folder / ".hydra" / "config.yaml"
        self.metrics_csv = self.folder / "metrics.csv"
        self.checkpoints = self.folder / "checkpoints"
        self.best_checkpoint = self.checkpoints / "best.ckpt"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self.predictions_csv = self.folder / "predictions.csv"
        self.summary_json = self.folder / SUMMARY
        self.manifest = self.folder / "SHA256SUMS"  # written once nothing may change any more
        self.report = self.folder / "report"
        self.report_html = self.report / "report.html"

    @classmethod
    def existing(cls, folder: str | Path, key: str = "run") -> "Run":
        """The run in the directory that an argument names; raises ValueError if it contains none."""
        run = cls(folder)
        for path in (run.folder, run.config_file, run.summary_json):
            if not path.exists():
                raise ValueError(f"{key}={folder}: no run, {path} is missing; a run's last line names its directory")
        return run

    @cached_property
    def lock(self) -> FileLock:
        """The lock of the process that works on the run; reentrant, as choosing, starting and writing a run take it."""
        return FileLock(self.folder.resolve() / ".lock", timeout=0, is_singleton=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock, or raises ValueError; the last release in this process removes the lock file."""
        try:
            self.lock.acquire()
        except Timeout:
            raise ValueError(f"{self.folder}: locked by another process") from None
        try:
            yield
        finally:
            if self.lock.lock_counter == 1:
                with suppress(OSError):
                    Path(self.lock.lock_file).unlink()
            self.lock.release()

    def reject_existing(self, key: str = "") -> None:
        """Rejects a directory that contains a run; `key` is the override that names the directory."""
        if self.summary_json.exists():
            more = "" if self.read_status() == "completed" else f", or resume it with resume={self.folder}"
            named, other = (f"{key}={self.folder}", key) if key else (self.folder, "directory")
            raise ValueError(f"{named}: already contains a run; not overwritten. Choose another {other}{more}")

    def create(self, summary: Mapping[str, Any], config: DictConfig, overrides: Sequence[str]) -> None:
        """Writes .hydra as Hydra does, with resolved values, and the first summary; never over another run.

        Hydra itself would write .hydra before it is known whether the directory already contains a run.
        """
        with self.locked():
            self.reject_existing()
            self.config_file.parent.mkdir(exist_ok=True)
            atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))
            atomic_write(self.config_file.with_name("overrides.yaml"), OmegaConf.to_yaml(list(overrides)))
            if HydraConfig.initialized():
                hydra_node = OmegaConf.create({"hydra": HydraConfig.get()})
                atomic_write(self.config_file.with_name("hydra.yaml"), OmegaConf.to_yaml(hydra_node))
            self.write_summary(summary)

    def prepare_resume(self, summary: Mapping[str, Any], config: DictConfig) -> None:
        """Writes the summary and the config with which the run resumes, and removes files that are written again.

        Event files of TensorBoard and offline files of wandb are written from the rows in the checkpoint: otherwise
        later epochs would appear twice.
        """
        self.write_summary(summary)
        atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))
        for path in (*self.folder.glob("events.out.tfevents.*"), *map(self.folder.joinpath, TENSORBOARD_FILES)):
            path.unlink(missing_ok=True)
        offline = {path for path in self.folder.glob("wandb/offline-run-*") if not any(path.glob("*.synced"))}
        for folder in (*self.folder.glob("[0-9]" * 5), *offline):  # 00000: the projector's, before version 0.2
            shutil.rmtree(folder)

    def read_config(self, config_dirs: Sequence[Path] = ()) -> DictConfig:
        """The config, by `untrusted.read_config`."""
        return read_config(self.config_file, config_dirs)

    def is_completed(self) -> bool:
        """Whether there is nothing to resume: completed with its best checkpoint intact, or partial without one."""
        status = self.read_status()
        return status == "partial" or (status == "completed" and is_intact(self.best_checkpoint))

    def read_status(self) -> str:
        """The status in the summary; `damaged` if that cannot be read."""
        try:
            return str(self.read_summary()["status"])
        except ValueError:
            return "damaged"

    def read_summary(self) -> dict[str, Any]:
        """The summary, by `summary.read_summary`."""
        return read_summary(self.summary_json)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replaces the summary."""
        atomic_write(self.summary_json, json.dumps(summary, indent=2, allow_nan=False) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """One row per completed epoch, by column."""
        return tables.read_metrics(self.metrics_csv)

    def write_metrics(self, rows: Sequence[dict[str, float]], flush: bool = True) -> None:
        """Replaces the rows of metrics.csv, by `tables.write_metrics`."""
        tables.write_metrics(self.metrics_csv, rows, flush)

    def read_predictions(self) -> "tuple[Tensor, Tensor]":
        """Labels (N,) int64 and probabilities (N, 10) float32 of the test images."""
        return tables.read_predictions(self.predictions_csv)

    def write_predictions(self, labels: "Tensor", probabilities: "Tensor") -> None:
        """Writes predictions.csv; arguments as `read_predictions` returns them."""
        tables.write_predictions(self.predictions_csv, labels, probabilities)

    def write_report(self, files: Mapping[str, str | bytes]) -> None:
        """Writes the report's files, by name."""
        self.write_files({f"{self.report.name}/{name}": content for name, content in files.items()})

    def write_files(self, files: Mapping[str, str | bytes]) -> None:
        """Writes files, by path in the directory."""
        for path, content in files.items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            atomic_write(self.folder / path, content)
