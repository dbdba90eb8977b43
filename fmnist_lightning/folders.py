"""May a run or a sweep write where it is told to: is there room, and nothing that it would write over."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.processes import is_rank_zero
from fmnist_lightning.provenance import code_sha256, config_sha256
from fmnist_lightning.runs import SUMMARY, Run


def check_folder(
    cfg: DictConfig, multirun: bool, overrides: list[str], compose: Callable[[list[str]], DictConfig]
) -> None:
    """Refuses a folder where nothing can be written, or where another run or sweep is.

    Args:
        cfg: composed, with Hydra's own node.
        multirun: whether a sweep was asked for.
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
            _check_sweep(folder, overrides, compose)
        elif cfg.resume is None:
            refuse_taken(cfg)
    except OSError as error:
        raise ValueError(f"{key}={folder}: cannot write there ({error.strerror}); choose another {key}") from None


def run_dir(cfg: DictConfig) -> str:
    """hydra.run.dir of a composed configuration, with its `${...}` as they are."""
    return str(OmegaConf.to_container(cfg.hydra.run, resolve=False)["dir"])  # type: ignore[index,call-overload]


def refuse_taken(cfg: DictConfig) -> None:
    """Refuses a hydra.run.dir that holds a run: a new one is never written over it.

    Raises:
        ValueError: saying how the run there goes on.
    """
    folder = Path(cfg.hydra.run.dir)
    if Run(folder).summary_json.exists() and is_rank_zero():
        more = "" if Run(folder).read_status() == "completed" else f", or resume it with resume={folder}"
        raise ValueError(
            f"hydra.run.dir={folder}: already contains a run; not overwritten. Choose another hydra.run.dir{more}"
        )


def _check_sweep(folder: Path, overrides: list[str], compose: Callable[[list[str]], DictConfig]) -> None:
    """Refuses a folder that holds other runs than those of the same sweep, made by the same code."""
    before = folder / "multirun.yaml"
    if before.exists() and _is_sweep_of(before, overrides):
        _check_completed(folder, compose)
    elif next(folder.rglob(SUMMARY), before).exists() and is_rank_zero():
        raise ValueError(
            f"hydra.sweep.dir={folder}: already holds another sweep or runs, which are kept; "
            "choose another hydra.sweep.dir"
        )


def _is_sweep_of(multirun_yaml: Path, overrides: list[str]) -> bool:
    """Whether the sweep that Hydra wrote down there was asked for by the same overrides."""
    try:
        before = yaml.safe_load(multirun_yaml.read_bytes())["hydra"]["overrides"]["task"]
    except (yaml.YAMLError, RecursionError, TypeError, KeyError):
        return False
    # in the same order: it numbers the jobs
    return bool(before == [typed for typed in overrides if not _is_hydras(typed)])


def _is_hydras(typed: str) -> bool:
    return re.match(r"[+~]*hydra[./]", typed) is not None


def _check_completed(sweep: Path, compose: Callable[[list[str]], DictConfig]) -> None:
    """Refuses to go on with a sweep whose completed jobs would come out otherwise today."""
    for path in sorted(sweep.rglob(SUMMARY)):
        try:
            summary = Run(path.parent).read_summary()
        except ValueError:
            continue  # damaged, and made again
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
