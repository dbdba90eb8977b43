"""Validates the directory of a new run or sweep: it is writable, and contains nothing that would be overwritten."""

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.run import Run
from fmnist_lightning.runs.sweep_folder import check_sweep


def check_folder(
    cfg: DictConfig, multirun: bool, overrides: list[str], compose: Callable[[list[str]], DictConfig]
) -> None:
    """Rejects a directory that cannot be written, or that contains another run or sweep.

    Args:
        cfg: composed, with Hydra's own node.
        multirun: whether a sweep is started.
        overrides: as typed.
        compose: the configuration of a job's overrides.

    Raises:
        ValueError: naming the override to change.
    """
    key = "hydra.sweep.dir" if multirun else "hydra.run.dir"
    folder = Path(OmegaConf.select(cfg, key))
    try:
        existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
        with tempfile.TemporaryFile(dir=existing) as file:  # permissions alone do not tell
            file.write(bytes(2**16))  # on a full disk an empty file can still be created
            file.flush()
        if multirun:
            check_sweep(cfg, overrides, compose)
        elif cfg.resume is None:
            reject_existing_run(cfg)
    except OSError as error:
        raise ValueError(f"{key}={folder}: cannot write there ({error.strerror}); choose another {key}") from None


def run_dir(cfg: DictConfig) -> str:
    """hydra.run.dir of a composed configuration, its interpolations unresolved."""
    return str(OmegaConf.to_container(cfg.hydra.run, resolve=False)["dir"])  # type: ignore[index,call-overload]


def check_subdirs(cfg: DictConfig, jobs: Iterable[DictConfig]) -> None:
    """Rejects a hydra.sweep.subdir that gives two jobs one directory.

    Args:
        cfg: of one job.
        jobs: the configurations of all, composed only if the pattern does not number them.

    Raises:
        ValueError: naming hydra.sweep.subdir.
    """
    pattern = str(OmegaConf.to_container(cfg.hydra.sweep, resolve=False)["subdir"])  # type: ignore[index,call-overload]
    if re.search(r"\$\{hydra[.:]job\.(num|id)\}", pattern):
        return
    subdirs: set[str] = set()
    for job in jobs:
        subdir = str(job.hydra.sweep.subdir)
        if subdir in subdirs:
            raise ValueError(
                f"hydra.sweep.subdir={pattern}: two jobs would share the directory {subdir}; "
                "add ${hydra.job.num} to it"
            )
        subdirs.add(subdir)


def reject_existing_run(cfg: DictConfig) -> None:
    """Rejects a hydra.run.dir that contains a run, which is never overwritten.

    Raises:
        ValueError: saying how to resume the run there.
    """
    folder = Path(cfg.hydra.run.dir)
    if Run(folder).summary_json.exists() and is_rank_zero():
        more = "" if Run(folder).read_status() == "completed" else f", or resume it with resume={folder}"
        raise ValueError(
            f"hydra.run.dir={folder}: already contains a run; not overwritten. Choose another hydra.run.dir{more}"
        )
