"""May a run or a sweep write to its directory: is there room, and nothing that it would overwrite."""

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.runs.provenance import code_sha256, config_sha256
from fmnist_lightning.runs.run import SUMMARY, Run


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
        with tempfile.TemporaryFile(dir=existing) as file:  # the only sure way to know
            file.write(bytes(2**16))  # a full disk lets a file begin
            file.flush()
        if multirun:
            _check_sweep(cfg, overrides, compose)
        elif cfg.resume is None:
            reject_existing_run(cfg)
    except OSError as error:
        raise ValueError(f"{key}={folder}: cannot write there ({error.strerror}); choose another {key}") from None


def run_dir(cfg: DictConfig) -> str:
    """hydra.run.dir of a composed configuration, with its `${...}` as they are."""
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
    """Rejects a hydra.run.dir that contains a run, which a new one never overwrites.

    Raises:
        ValueError: saying how to resume the run there.
    """
    folder = Path(cfg.hydra.run.dir)
    if Run(folder).summary_json.exists() and is_rank_zero():
        more = "" if Run(folder).read_status() == "completed" else f", or resume it with resume={folder}"
        raise ValueError(
            f"hydra.run.dir={folder}: already contains a run; not overwritten. Choose another hydra.run.dir{more}"
        )


def _check_sweep(cfg: DictConfig, overrides: list[str], compose: Callable[[list[str]], DictConfig]) -> None:
    """Rejects a directory that contains anything but the same sweep, made by the same code."""
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
    # in the same order: it numbers the jobs
    typed = [override for override in overrides if not _is_hydras(override)]
    params = OmegaConf.to_container(cfg.hydra.sweeper.params or OmegaConf.create({}))
    assert isinstance(params, dict)
    return bool((before[0], list(before[1].items())) == (typed, list(params.items())))


def _is_hydras(typed: str) -> bool:
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
        if any(map(_is_hydras, summary["overrides"])):  # not as we write it: Hydra's own name where configs come from
            raise ValueError(f"{path}: damaged, holds overrides of Hydra's; remove that run's folder")
        cfg = compose(summary["overrides"])
        codes = {part.get("code_sha256") for part in [summary, *summary.get("resumed", [])]}
        # a summary of an older version has not both
        if codes != {code_sha256()} or summary.get("config_sha256") != config_sha256(cfg):
            raise ValueError(
                f"hydra.sweep.dir={sweep}: code or configuration changed since {path.parent.name} was completed; "
                "choose another hydra.sweep.dir"
            )
