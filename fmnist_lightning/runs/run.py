"""The run folder: its names, its config, its summary, its model. The only file that knows the layout."""

import csv
import io
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

from fmnist_lightning.runs.files import atomic_write, is_intact, sha256
from fmnist_lightning.runs.untrusted import read_config, read_summary

if TYPE_CHECKING:  # a folder that is no run is refused without the seconds that torch takes
    from torch import Tensor

    from fmnist_lightning.models import Classifier

SUMMARY = "summary.json"


class Run:
    """One run folder.

    Args:
        folder: of the run; it need not exist yet.
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
        self.reproduction_json = self.folder / "reproduction.json"
        self.seal_file = self.folder / "SHA256SUMS"
        self.report = self.folder / "report"
        self.report_html = self.report / "report.html"

    @classmethod
    def existing(cls, folder: str | Path, key: str = "run") -> "Run":
        """The run in a folder.

        Args:
            folder: of the run.
            key: by which the user named it.

        Raises:
            ValueError: the folder is not there, or holds no run.
        """
        run = cls(folder)
        for path in (run.folder, run.config_file, run.summary_json):
            if not path.exists():
                raise ValueError(f"{key}={folder}: no run, {path} is missing; the last line of a run names its folder")
        return run

    @cached_property
    def lock(self) -> FileLock:
        """The lock of whoever works on the run; one object per process and directory, acquired once or more often."""
        return FileLock(self.folder.resolve() / ".lock", timeout=0, is_singleton=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock; the last release in this process removes its file.

        Raises:
            ValueError: another process works on this run.
            OSError: the directory cannot be written.
        """
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

    def claim(self, summary: Mapping[str, Any], config: DictConfig, overrides: Sequence[str]) -> None:
        """Makes the directory this run's own: writes .hydra as Hydra would, its values resolved, and the first summary.

        Hydra itself would write .hydra before it is known whether the directory contains another run.

        Args:
            summary: the first one.
            config: composed, without Hydra's own node.
            overrides: as typed.

        Raises:
            ValueError: the directory already contains a run, or another process works on it.
        """
        with self.locked():
            if self.summary_json.exists():
                more = "" if self.read_status() == "completed" else f", or resume it with resume={self.folder}"
                raise ValueError(
                    f"{self.folder}: already contains a run; not overwritten. Choose another directory{more}"
                )
            self.config_file.parent.mkdir(exist_ok=True)
            atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))
            atomic_write(self.config_file.with_name("overrides.yaml"), OmegaConf.to_yaml(list(overrides)))
            if HydraConfig.initialized():
                hydra_node = OmegaConf.create({"hydra": HydraConfig.get()})
                atomic_write(self.config_file.with_name("hydra.yaml"), OmegaConf.to_yaml(hydra_node))
            self.write_summary(summary)

    def reopen(self, summary: Mapping[str, Any], config: DictConfig) -> None:
        """Prepares the directory of a run that resumes: its summary, and the config that it resumes with.

        TensorBoard's files and wandb's offline ones are rewritten from the rows in the checkpoint: later ones would
        appear twice.
        """
        self.write_summary(summary)
        atomic_write(self.config_file, OmegaConf.to_yaml(config, resolve=True))
        for path in (*self.folder.glob("events.out.tfevents.*"), *self.folder.glob("projector_config.pbtxt")):
            path.unlink()
        offline = {path for path in self.folder.glob("wandb/offline-run-*") if not any(path.glob("*.synced"))}
        for folder in (*self.folder.glob("[0-9]" * 5), *offline):
            shutil.rmtree(folder)

    def read_config(
        self, changes: Mapping[str, Any] | None = None, folders: Sequence[Path] = (), resume: bool = False
    ) -> DictConfig:
        """The composed config, as data: checked before anything in it is instantiated or resolved.

        Args:
            changes: values by key, in place of those in the file.
            folders: of the user's own config files.
            resume: whether the run will train.

        Raises:
            ValueError: as `trust.read_config` says.
        """
        return read_config(self.config_file, changes, folders, resume)

    def is_completed(self) -> bool:
        """Whether there is nothing to resume: completed with its best checkpoint intact, or partial without one."""
        status = self.read_status()
        return status == "partial" or (status == "completed" and is_intact(self.best_checkpoint))

    def read_status(self) -> str:
        """The status in the summary; `damaged` where that cannot be read."""
        try:
            return str(self.read_summary()["status"])
        except ValueError:
            return "damaged"

    def read_summary(self) -> dict[str, Any]:
        """The summary, as its writer left it.

        Raises:
            ValueError: as `trust.read_summary` says.
        """
        return read_summary(self.summary_json)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replaces the summary."""
        atomic_write(self.summary_json, _json(summary))

    def read_metrics(self) -> list[dict[str, float]]:
        """One row per finished epoch, by column; none where no epoch was finished.

        Raises:
            ValueError: the file is no table of numbers.
        """
        if not self.metrics_csv.exists():
            return []
        try:
            with self.metrics_csv.open(newline="", encoding="utf-8") as file:
                return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        except (ValueError, TypeError, csv.Error) as error:  # a row of fewer or more values has None among them
            raise ValueError(f"{self.metrics_csv}: damaged, {error}") from error

    def write_metrics(self, rows: list[dict[str, float]]) -> None:
        """Replaces the rows; of none there is no file."""
        if not rows:
            self.metrics_csv.unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.metrics_csv, text.getvalue())

    def write_predictions(self, labels: "Tensor", probabilities: "Tensor") -> None:
        """Writes index, label, predicted, p0..p9 of every test image, in official order.

        Args:
            labels: (N,) int64.
            probabilities: (N, 10) float32.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["index", "label", "predicted", *(f"p{c}" for c in range(probabilities.shape[1]))])
        predicted = probabilities.argmax(dim=1).tolist()
        rows = zip(labels.tolist(), predicted, probabilities.tolist(), strict=True)
        for index, (label, prediction, shares) in enumerate(rows):
            writer.writerow([index, label, prediction, *(f"{share:.9g}" for share in shares)])
        atomic_write(self.predictions_csv, text.getvalue())

    def read_predictions(self) -> "tuple[Tensor, Tensor]":
        """Labels (N,) int64 and probabilities (N, 10) float32, as written.

        Raises:
            ValueError: the file is no table of predictions.
        """
        import torch

        try:
            with self.predictions_csv.open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            if header[:3] != ["index", "label", "predicted"]:
                raise ValueError("its first line names other columns")
            columns = [header.index(f"p{c}") for c in range(len(header) - 3)]
            labels = torch.tensor([int(row[header.index("label")]) for row in rows])
            return labels, torch.tensor([[float(row[c]) for c in columns] for row in rows])
        except (ValueError, IndexError, OverflowError, RuntimeError, csv.Error) as error:
            raise ValueError(f"{self.predictions_csv}: damaged, {error}") from error

    def write_reproduction(self, facts: Mapping[str, Any]) -> None:
        """Writes what a reproduction of the study measures of a finished run."""
        atomic_write(self.reproduction_json, _json(facts))

    def read_reproduction(self) -> dict[str, Any]:
        """The same, as written."""
        facts: dict[str, Any] = json.loads(self.reproduction_json.read_text(encoding="utf-8"))
        return facts

    def seal(self) -> None:
        """Writes down the SHA-256 of every file of the run, as `sha256sum --check SHA256SUMS` reads it."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path != self.seal_file]
        sums = {path.relative_to(self.folder).as_posix(): sha256(path) for path in paths}
        atomic_write(self.seal_file, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))

    def check_seal(self) -> None:
        """Compares the files of a sealed run with what they were.

        Raises:
            ValueError: naming the first file that is missing or changed.
        """
        for line in self.seal_file.read_text(encoding="utf-8").splitlines():
            digest, _, name = line.partition("  ")
            path = self.folder / name
            if not path.is_file() or sha256(path) != digest:
                what = "changed" if path.exists() else "missing"
                raise ValueError(f"{path}: {what} since the run was finished; remove {self.folder} to make it again")

    def write_report(self, files: Mapping[str, str | bytes]) -> None:
        """Writes the report's files, by name."""
        self.report.mkdir(exist_ok=True)
        for name, content in files.items():
            atomic_write(self.report / name, content)

    def load_best(self, config: DictConfig | None = None) -> "tuple[Classifier, dict[str, Any]]":
        """The run's model with the weights of the best checkpoint, and the checkpoint.

        Args:
            config: the run's, where it is at hand; else the one in the folder, which must name nothing foreign.

        Raises:
            ValueError: there is no best checkpoint, or its weights are not this model's.
        """
        from hydra.utils import instantiate

        from fmnist_lightning.runs.checkpoints import load_weights, read_checkpoint  # which import torch

        if not self.best_checkpoint.exists():
            raise ValueError(f"{self.folder}: no checkpoint, for no epoch was finished")
        checkpoint = read_checkpoint(self.best_checkpoint)
        model: Classifier = instantiate((config or self.read_config()).model, _convert_="all")
        load_weights(model, checkpoint, self.best_checkpoint)
        return model, checkpoint


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"
