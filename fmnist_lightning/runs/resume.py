"""The run that `resume=` names; it resumes in its own directory with its own configuration. Imports no torch."""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config.compose import set_hydra_config, unresolved, without_hydra
from fmnist_lightning.config.config_files import CONF, user_config_dirs, walk
from fmnist_lightning.config.consistency import REQUIRED_CALLBACKS, validate_config
from fmnist_lightning.config.launch import Launch
from fmnist_lightning.config.machine import check_machine
from fmnist_lightning.config.overrides import quote
from fmnist_lightning.config.processes import is_rank_zero
from fmnist_lightning.config.schema import flatten_keys
from fmnist_lightning.runs.folders import reject_existing_run
from fmnist_lightning.runs.provenance import config_sha256
from fmnist_lightning.runs.run import SUMMARY, Run
from fmnist_lightning.runs.training_length import MAX_EPOCHS, PATIENCE, check_training_length
from fmnist_lightning.runs.untrusted import override_config

# what may change when a run resumes: how long it trains, and what its results do not depend on
RESUME_OVERRIDES = (
    MAX_EPOCHS,
    PATIENCE,
    "trainer.accelerator",
    "data.root",
    "data.mirrors",
    "callbacks.checkpoint.every_n_train_steps",
    "callbacks.distillation.teachers",  # where they are: checksums have to be the same
)


def find_run(folder: str) -> Run:
    """The run of `resume=DIR`; raises ValueError if the directory contains none, or none that can be resumed."""
    run = Run(Run.existing(folder, key="resume").folder.resolve())
    if "${" in str(run.folder) or "\\" in run.folder.as_posix():
        raise ValueError(f"resume={folder}: Hydra interprets ${{ and backslashes in a path; rename the directory")
    for path in run.folder.rglob("*"):
        if path.is_symlink() and not path.relative_to(run.folder).match("wandb/*/logs/debug-core.log"):  # wandb's own
            raise ValueError(f"resume={folder}: {path} is a link; a resumed run writes to its own directory only")
        if not (path.is_file() or path.is_dir()) and path.exists():  # a file just being written may be gone by now
            raise ValueError(f"resume={folder}: {path} is neither file nor directory; remove it")
    if run.manifest.exists():
        raise ValueError(
            f"resume={folder}: part of a reproduction or the leaderboard, which must not change; copy it elsewhere"
        )
    return run


def find_unfinished_runs(cfg: DictConfig, config_dirs: Sequence[Path] = ()) -> Iterator[Run]:
    """The runs that `resume=auto` may resume: the unfinished ones of a configuration, the newest first.

    They are searched for wherever hydra.run.dir may put a run. With a fixed hydra.run.dir a completed run is yielded
    too, so that the command reports that it is already completed. `cfg` has Hydra's own node.

    Raises:
        ValueError: a value depends on the time, or the config of a run with the same fingerprint cannot be read.
    """
    for key, value, _ in walk(OmegaConf.to_container(without_hydra(cfg))):
        if isinstance(value, str) and "${now:" in value:
            raise ValueError(f"resume=auto: {key}={value} has another value each time; type a fixed one")
    pattern = unresolved(cfg.hydra.run, "dir")
    for run in _runs(pattern):
        set_hydra_config(cfg, str(run.folder))
        wanted = config_sha256(cfg)
        try:
            summary = run.read_summary()
            if summary["status"] in ("completed", "partial") and "${" in pattern:
                continue
        except ValueError:  # damaged
            summary = {}
        try:
            if config_sha256(run.read_config(config_dirs)) != wanted:
                continue
        except ValueError:
            if summary.get("config_sha256") == wanted:
                raise
            continue
        with suppress(ValueError):  # it cannot be resumed
            yield find_run(str(run.folder))


def _runs(pattern: str) -> Iterator[Run]:
    """Runs whose directories match Hydra's pattern, the newest first."""
    wild = Path("*".join(map(glob.escape, re.split(r"\$\{[^{}]*\}", pattern))), SUMMARY)
    summaries = [path for path in Path(wild.anchor).glob(str(wild.relative_to(wild.anchor))) if path.is_file()]
    for path in sorted(summaries, key=lambda path: path.stat().st_mtime, reverse=True):
        yield Run(path.parent.absolute())


def config_to_resume(run: Run, overrides: list[str], config_dirs: Sequence[Path] = ()) -> DictConfig:
    """The configuration with which a run resumes: its own, with those overrides that do not make it another run."""
    changes: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key.startswith("hydra.") or key == "resume":
            continue
        if key not in RESUME_OVERRIDES and not key.startswith("logger."):
            raise ValueError(
                f"{override.input_line}: the run in {run.folder} resumes with its own configuration; only "
                f"{', '.join(RESUME_OVERRIDES)} and logger.* may change. "
                "Another configuration is another run: leave resume= out"
            )
        changes[key] = override.value()
    stored = run.read_config(config_dirs)
    cfg = override_config(stored, run.config_file, changes, config_dirs)
    _check_keys(cfg, run)
    validate_config(cfg)
    check_machine(cfg.trainer, str(run.folder))
    check_training_length(run, stored, cfg, changes)
    _check_config_file(run)
    return cfg


def _check_config_file(run: Run) -> None:
    """Rejects a stored config other than the one of the run's summary: it would continue another experiment."""
    try:
        summary = run.read_summary()
    except ValueError:  # damaged
        return
    parts = [summary, *summary.get("resumed", [])[-1:]]
    known = {parts[0].get("config_sha256"), parts[-1].get("previous_config_sha256")} - {None}
    # the file without read_config's migration of earlier versions; read_config has validated it
    stored = OmegaConf.load(run.config_file)
    assert isinstance(stored, DictConfig)
    if known and config_sha256(stored) not in known:
        raise ValueError(
            f"{run.config_file}: differs from the configuration with which the run was started (config_sha256 in "
            f"{run.summary_json.name}); restore the file, or start a new run"
        )


def _check_keys(cfg: DictConfig, run: Run) -> None:
    """Rejects a configuration without the default arguments of the trainer and of the required callbacks."""
    trainer, callbacks = (OmegaConf.load(CONF / group / "default.yaml") for group in ("trainer", "callbacks"))
    needed = [f"trainer.{key}" for key in flatten_keys(trainer)]
    in_callbacks = [f"callbacks.{key}" for key in flatten_keys(callbacks)]
    needed += [key for key in in_callbacks if key.startswith(tuple(f"{name}." for name in REQUIRED_CALLBACKS))]
    if missing := next(iter(sorted(set(needed) - set(flatten_keys(cfg)))), None):
        raise ValueError(f"{run.config_file}: {missing} is missing; add it there")


def resume_overrides(launch: Launch, exit_stack: ExitStack) -> list[str]:
    """The overrides of a single run for Hydra: as typed for a new run, else with the resumed run's directory.

    Enters the lock of the resumed run into `exit_stack`.

    Raises:
        ValueError: the run is locked by another process, cannot be resumed, or an override must not change.
    """
    cfg, config_dirs = launch.cfg, user_config_dirs(launch.cfg.hydra)
    if cfg.resume is None:
        return launch.overrides
    is_auto = cfg.resume == "auto"
    overrides = [] if is_auto else [typed for typed in launch.overrides if typed.partition("=")[0] != "resume"]
    for run in find_unfinished_runs(cfg, config_dirs) if is_auto else [find_run(cfg.resume)]:
        try:
            if is_rank_zero():
                exit_stack.enter_context(run.locked())
        except ValueError:
            if is_auto:
                continue  # another process resumes it
            raise
        config_to_resume(run, overrides, config_dirs)  # rejects what must not change, before anything is written
        return [*overrides, f"resume={quote(run.folder)}", f"hydra.run.dir={quote(run.folder)}"]
    reject_existing_run(cfg)
    return launch.overrides
