"""A completed run of a plan: what was measured of it, and a manifest that detects later changes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist_lightning.runs.files import atomic_write, sha256
from fmnist_lightning.runs.run import Run


def write_measurements(run: Run, measurements: Mapping[str, Any]) -> None:
    """Writes measurements.json: what is measured in addition to the summary."""
    atomic_write(_measurements_path(run), json.dumps(measurements, indent=2, allow_nan=False) + "\n")


def read_measurements(run: Run) -> dict[str, Any]:
    """Reads measurements.json."""
    measurements: dict[str, Any] = json.loads(_measurements_path(run).read_text(encoding="utf-8"))
    return measurements


def _measurements_path(run: Run) -> Path:
    return run.folder / "measurements.json"


def write_manifest(run: Run) -> None:
    """Writes SHA256SUMS, the checksum of every file of the run, in the format of `sha256sum --check`."""
    paths = [path for path in run.folder.rglob("*") if path.is_file() and path != run.manifest]
    sums = {path.relative_to(run.folder).as_posix(): sha256(path) for path in paths}
    atomic_write(run.manifest, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def verify_manifest(run: Run) -> None:
    """Compares the files of a run with its manifest.

    Raises:
        ValueError: naming the first file that is missing or changed.
    """
    for line in run.manifest.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = run.folder / name
        if not path.is_file() or sha256(path) != digest:
            what = "changed" if path.exists() else "missing"
            raise ValueError(f"{path}: {what} since the run was completed; remove {run.folder} to repeat it")
