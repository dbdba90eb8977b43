"""Validates a sweep directory: it may contain the same sweep, made by the same code; completed jobs are reused."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.provenance import code_sha256, config_sha256
from fmnist_lightning.runs.run import SUMMARY, Run


def check_sweep(cfg: DictConfig, overrides: list[str], compose: Callable[[list[str]], DictConfig]) -> None:
    """Rejects a directory that contains another sweep or other runs.

    Args:
        cfg: composed, with Hydra's own node.
        overrides: as typed.
        compose: the configuration of a job's overrides.

    Raises:
        ValueError: naming hydra.sweep.dir.
    """
    folder = Path(cfg.hydra.sweep.dir)
    before = folder / "multirun.yaml"
    if before.exists() and _is_sweep_of(before, cfg, overrides):
        _check_completed(folder, compose)
    elif next(folder.rglob(SUMMARY), before).exists() and is_rank_zero():
        raise ValueError(
            f"hydra.sweep.dir={folder}: already contains another sweep or runs; not overwritten. "
            "Choose another hydra.sweep.dir"
        )


def _is_sweep_of(multirun_yaml: Path, cfg: DictConfig, overrides: list[str]) -> bool:
    """Whether the sweep whose configuration Hydra stored there has the same overrides, typed and of config files."""
    try:
        stored = yaml.safe_load(multirun_yaml.read_bytes())["hydra"]
        before = stored["overrides"]["task"], stored.get("sweeper", {}).get("params") or {}
    except (yaml.YAMLError, RecursionError, TypeError, KeyError, AttributeError):
        return False
    # in the same order, which numbers the jobs
    typed = [override for override in overrides if not _is_hydra_override(override)]
    params = OmegaConf.to_container(cfg.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    return bool((before[0], list(before[1].items())) == (typed, list(params.items())))


def _is_hydra_override(typed: str) -> bool:
    return re.match(r"[+~]*hydra[./]", typed) is not None


def _check_completed(sweep: Path, compose: Callable[[list[str]], DictConfig]) -> None:
    """Rejects resuming a sweep whose completed jobs would have other results today."""
    for path in sorted(sweep.rglob(SUMMARY)):
        try:
            summary = Run(path.parent).read_summary()
        except ValueError:
            continue  # damaged: the job runs again
        if summary["status"] != "completed":
            continue
        if any(
            map(_is_hydra_override, summary["overrides"])
        ):  # never written by this package: they could name other config files
            raise ValueError(f"{path}: damaged, contains overrides of hydra.*; remove that run's folder")
        cfg = compose(summary["overrides"])
        codes = {part.get("code_sha256") for part in [summary, *summary.get("resumed", [])]}
        # a summary of an older version lacks them
        if codes != {code_sha256()} or summary.get("config_sha256") != config_sha256(cfg):
            raise ValueError(
                f"hydra.sweep.dir={sweep}: code or configuration changed since {path.parent.name} was completed; "
                "choose another hydra.sweep.dir"
            )


def is_completed_job(run: Run, cfg: DictConfig, folders: Sequence[Path] = ()) -> bool:
    """Whether a job was completed by an earlier start of the same sweep; otherwise it resumes.

    Args:
        run: in the job's directory, with a summary.
        cfg: the job's configuration.
        folders: of the user's own config files.

    Raises:
        ValueError: the directory contains the run of another configuration.
    """
    if config_sha256(run.read_config(folders=folders)) != config_sha256(cfg):
        raise ValueError(
            f"{run.folder}: contains a run of another configuration; not overwritten. Choose another hydra.sweep.dir"
        )
    return run.is_completed()
