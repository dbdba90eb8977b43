"""Validates a sweep directory: it may contain the same sweep, made by the same code; completed jobs are reused."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import unresolved
from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.provenance import code_sha256, config_sha256
from fmnist_lightning.runs.run import SUMMARY, Run


def check_sweep(launch: Launch) -> None:
    """Rejects a directory that contains another sweep or other runs, and jobs that would share a directory."""
    folder = Path(launch.sweep_dir)
    before = folder / "multirun.yaml"
    if before.exists() and _is_sweep_of(before, launch):
        _check_completed(launch)
    elif next(folder.rglob(SUMMARY), before).exists() and is_rank_zero():
        raise ValueError(
            f"hydra.sweep.dir={folder}: already contains another sweep or runs; not overwritten. "
            "Choose another hydra.sweep.dir"
        )
    _check_subdirs(launch)


def _is_sweep_of(multirun_yaml: Path, launch: Launch) -> bool:
    """Whether the stored sweep has the same overrides, typed and in config files."""
    # in the same order, which numbers the jobs
    typed = [override for override in launch.overrides if not _is_hydra_override(override)]
    params = OmegaConf.to_container(launch.cfg.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    return _read_multirun(multirun_yaml) == (typed, list(params.items()))


def _read_multirun(multirun_yaml: Path) -> tuple[list[str], list[tuple[str, str]]] | None:
    """The overrides that Hydra stored of a multirun, typed and of config files; None if they cannot be read."""
    try:
        stored = yaml.safe_load(multirun_yaml.read_bytes())["hydra"]
        return stored["overrides"]["task"], list((stored.get("sweeper", {}).get("params") or {}).items())
    except (OSError, yaml.YAMLError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def varied_keys(folder: str | Path) -> list[str]:
    """The keys and config groups to which the multirun in a directory gives several values."""
    typed, params = _read_multirun(Path(folder, "multirun.yaml")) or ([], [])
    overrides = OverridesParser.create().parse_overrides([*typed, *(f"{key}={value}" for key, value in params)])
    return [override.key_or_group for override in overrides if override.is_sweep_override()]


def _is_hydra_override(typed: str) -> bool:
    return re.match(r"[+~]*hydra[./]", typed) is not None


def _check_completed(launch: Launch) -> None:
    """Rejects resuming a sweep whose completed jobs would have other results today."""
    for path in sorted(Path(launch.sweep_dir).rglob(SUMMARY)):
        try:
            summary = Run(path.parent).read_summary()
        except ValueError:
            continue  # damaged: the job runs again
        if summary["status"] != "completed":
            continue
        if any(map(_is_hydra_override, summary["overrides"])):  # never written; they could name other config files
            raise ValueError(f"{path}: damaged, contains overrides of hydra.*; remove that run's folder")
        cfg = launch.compose(summary["overrides"])
        codes = {part.get("code_sha256") for part in [summary, *summary.get("resumed", [])]}
        # a summary of an older version lacks them
        if codes != {code_sha256()} or summary.get("config_sha256") != config_sha256(cfg):
            raise ValueError(
                f"hydra.sweep.dir={launch.sweep_dir}: code or configuration changed since {path.parent.name} was "
                "completed; choose another hydra.sweep.dir"
            )


def _check_subdirs(launch: Launch) -> None:
    """Rejects a hydra.sweep.subdir that gives two jobs one directory."""
    pattern = unresolved(launch.cfg.hydra.sweep, "subdir")
    if re.search(r"\$\{hydra[.:]job\.(num|id)\}", pattern):
        return
    subdirs: set[str] = set()
    for job in launch.jobs():
        subdir = str(job.hydra.sweep.subdir)
        if subdir in subdirs:
            raise ValueError(
                f"hydra.sweep.subdir={pattern}: two jobs would share the directory {subdir}; "
                "add ${hydra.job.num} to it"
            )
        subdirs.add(subdir)


def is_completed_job(run: Run, cfg: DictConfig, config_dirs: Sequence[Path] = ()) -> bool:
    """Whether a job was completed by an earlier start of the sweep; raises ValueError if the run is another's."""
    if config_sha256(run.read_config(config_dirs)) != config_sha256(cfg):
        raise ValueError(
            f"{run.folder}: contains a run of another configuration; not overwritten. Choose another hydra.sweep.dir"
        )
    return run.is_completed()
