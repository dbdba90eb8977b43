"""Which run `resume=` names, and with which configuration it goes on. No torch here.

A run goes on in its own folder with its own configuration, as it was composed when it began.
"""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from fmnist_lightning.config import NEEDED, without_hydra
from fmnist_lightning.config_files import CONF
from fmnist_lightning.extras import check_loggers
from fmnist_lightning.folders import run_dir
from fmnist_lightning.limits import keys_of
from fmnist_lightning.machine import check_machine
from fmnist_lightning.processes import is_rank_zero
from fmnist_lightning.provenance import config_sha256
from fmnist_lightning.runs import SUMMARY, Run
from fmnist_lightning.trainer_arguments import check_trainer
from fmnist_lightning.training_length import MAX_EPOCHS, PATIENCE, check_training_length
from fmnist_lightning.trust import read_from_elsewhere

# what may differ when a run goes on: nothing that its numbers come from, but how long it trains
CHANGEABLE = (
    MAX_EPOCHS,
    PATIENCE,
    "trainer.accelerator",
    "data.root",
    "data.mirrors",
    "callbacks.checkpoint.every_n_train_steps",
)


def lock_of(folder: Path) -> FileLock:
    """The lock that whoever works on a run folder holds; it lies beside the folder, which a sweep may empty."""
    folder = folder.resolve()  # one lock, whatever name leads there
    return FileLock(folder.with_name(f".{folder.name}.lock"))


def named_run(folder: str) -> tuple[Run, FileLock | None]:
    """The run of `resume=DIR`, and its lock, held; none in a later process of a run.

    Raises:
        ValueError: no run is there, it cannot go on, or another process works on it.
    """
    run = Run(Run.existing(folder, key="resume").folder.resolve())
    if "${" in str(run.folder) or "\\" in run.folder.as_posix():
        raise ValueError(f"resume={folder}: Hydra reads ${{ and backslashes in a name as its own; rename the folder")
    for path in run.folder.rglob("*"):
        if path.is_symlink() and not path.relative_to(run.folder).match("wandb/*/logs/debug-core.log"):  # wandb's own
            raise ValueError(f"resume={folder}: {path} is a link; a run that goes on writes in its own folder only")
        if not (path.is_file() or path.is_dir()) and path.exists():  # a file just being written may be gone by now
            raise ValueError(f"resume={folder}: {path} is neither file nor folder; remove it")
    if run.seal_file.exists():
        raise ValueError(f"resume={folder}: part of a reproduction, whose files stay as they are; copy it elsewhere")
    if not is_rank_zero():
        return run, None
    lock = lock_of(run.folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"resume={folder}: another process works on this run; wait for it or stop it") from None
    except OSError as error:
        raise ValueError(f"resume={folder}: cannot write there ({error.strerror})") from None
    return run, lock


def unfinished_run(cfg: DictConfig, folders: Sequence[Path] = ()) -> tuple[Run, FileLock | None] | None:
    """The run of `resume=auto`, and its lock, held: the newest unfinished one of a configuration.

    It is looked for where hydra.run.dir would put a run, whatever stands for its `${...}`. Where that is one folder,
    a completed run of the configuration counts too: nothing is left to do.

    Args:
        cfg: composed, with Hydra's own node.
        folders: of the user's own config files.

    Raises:
        ValueError: a value comes from elsewhere than the configuration, so that no stored one is known to be the same,
            or the configuration of a run that may be it cannot be read.
    """
    if foreign := read_from_elsewhere(OmegaConf.to_container(without_hydra(cfg))):
        raise ValueError(f"resume=auto: {foreign} is read from elsewhere, and may differ next time; type its value")
    wanted = config_sha256(cfg)
    pattern = run_dir(cfg)
    for run in _runs(pattern):
        try:
            summary = run.read_summary()
            if summary["status"] in ("completed", "partial") and "${" in pattern:
                continue
        except ValueError:  # damaged
            summary = {}
        try:
            if config_sha256(run.read_config(folders=folders)) != wanted:
                continue
        except ValueError:
            if summary.get("config_sha256") == wanted:
                raise
            continue
        with suppress(ValueError):  # locked by another process
            return named_run(str(run.folder))
    return None


def _runs(pattern: str) -> Iterator[Run]:
    """Runs whose folders match Hydra's pattern, the newest first."""
    wild = Path("*".join(map(glob.escape, re.split(r"\$\{[^{}]*\}", pattern))), SUMMARY)
    summaries = [path for path in Path(wild.anchor).glob(str(wild.relative_to(wild.anchor))) if path.is_file()]
    for path in sorted(summaries, key=lambda path: path.stat().st_mtime, reverse=True):
        yield Run(path.parent.absolute())


def stored_config(run: Run, overrides: list[str], folders: Sequence[Path] = ()) -> DictConfig:
    """The configuration with which a run resumes: its own, and the few overrides that it allows.

    Args:
        run: that resumes.
        overrides: as typed.
        folders: of the user's own config files.

    Raises:
        ValueError: an override that would make it another run, or a configuration that names what no config file at
            hand names, reads the environment or has values outside their limits.
    """
    changes: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(overrides):
        key = override.key_or_group
        if key.startswith("hydra.") or key == "resume":
            continue
        if key not in CHANGEABLE and not key.startswith("logger."):
            raise ValueError(
                f"{override.input_line}: the run in {run.folder} goes on as it began; only "
                f"{', '.join(CHANGEABLE)} and logger.* may change. "
                "Another configuration is another run: leave resume= out"
            )
        changes[key] = override.value()
    cfg = run.read_config(changes, folders, resume=True)
    _check_keys(cfg, run)
    check_trainer(cfg.trainer)
    check_loggers(cfg.logger)
    check_machine(cfg.trainer, str(run.folder))
    check_training_length(run, run.read_config(None, folders), cfg, changes)
    return cfg


def _check_keys(cfg: DictConfig, run: Run) -> None:
    """Refuses a configuration without the trainer's arguments or the callbacks that every run needs."""
    if missing := next((key for key in NEEDED if OmegaConf.select(cfg, key) is None), None):
        raise ValueError(f"{run.config_file}: {missing} is missing, without which no run has a result")
    trainer, callbacks = (OmegaConf.load(CONF / group / "default.yaml") for group in ("trainer", "callbacks"))
    needed = [f"trainer.{key}" for key in keys_of(trainer)]
    needed += [f"callbacks.{key}" for key in keys_of(callbacks) if f"callbacks.{key.partition('.')[0]}" in NEEDED]
    if missing := next(iter(sorted(set(needed) - set(keys_of(cfg)))), None):
        raise ValueError(f"{run.config_file}: {missing} is missing; add it there")
