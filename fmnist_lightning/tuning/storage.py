"""Where a study is stored: a journal file, or a database such as SQLite or PostgreSQL. Imports Optuna."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from fmnist_lightning.config.errors import format_error
from fmnist_lightning.tuning.retries import MAX_RETRIES
from fmnist_lightning.tuning.search import Search

# no connection stays open for the minutes of an epoch; seconds to wait for SQLite's lock, or for PostgreSQL
ENGINE: dict[str, Any] = {"poolclass": NullPool, "connect_args": {"timeout": 60}}
JOURNAL_START = b'{"op_code'
_STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError)


def open_study(search: Search) -> optuna.Study:
    """Creates or joins the study.

    Raises:
        ValueError: the storage cannot be reached, or its study differs from the search; the message names the keys.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # the search prints a line for each trial
    warnings.simplefilter("ignore", ExperimentalWarning)
    with explained(search):
        url = _url(search)
        if url is None:
            _check_journal(Path(search.storage))
        elif url.drivername.startswith("postgresql"):  # before a directory is created
            sqlalchemy.create_engine(url, **ENGINE).connect().close()
    with explained(search), search.lock():  # two processes at a time would create the tables twice
        study = optuna.create_study(
            storage=_open_storage(search, url),
            study_name=search.study,
            direction="minimize" if search.mode == "min" else "maximize",
            load_if_exists=True,
        )
        settings, stored = search.settings(), study.user_attrs.get("settings")
        if stored is None and any(search.folder.glob("trial_*")):
            raise ValueError(
                f"search.folder={search.folder}: contains trials of another study; choose another search.folder"
            )
        if stored is None:
            study.set_user_attr("settings", settings)
    if stored is not None and stored != settings:
        different = sorted(key for key in stored.keys() | settings if stored.get(key) != settings.get(key))
        lines = [
            f"{key} is {stored.get(key, 'not set')} there, {settings.get(key, 'not set')} here" for key in different
        ]
        raise ValueError(
            f"search.study={search.study}: this study has other settings: {'; '.join(lines)}; "
            "choose another search.study"
        )
    return study


def _url(search: Search) -> URL | None:
    """The URL of a database, with the password; None for a journal file."""
    if not search.is_database():
        return None
    try:
        url = make_url(search.storage)
        if url.drivername != "postgresql":
            return url
        if not url.username:
            raise ValueError
    except (ValueError, sqlalchemy.exc.ArgumentError):  # whose message has the password
        form = "sqlite:///FILE or postgresql://USER@HOST:PORT/DATABASE"
        raise ValueError(f"search.storage={shown(search.storage)}: must have the form {form}") from None
    return url.set(drivername="postgresql+pg8000", password=url.password or os.environ.get("PGPASSWORD"))


def _check_journal(path: Path) -> None:
    """Rejects a file of the user's, to which Optuna would append, before a lock is created next to it."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(JOURNAL_START)) not in (b"", JOURNAL_START):
                raise ValueError(f"search.storage={path}: exists and is not a journal file of Optuna")


def _open_storage(search: Search, url: URL | None) -> optuna.storages.BaseStorage:
    if url is None:
        path = Path(search.storage).absolute()  # Optuna's lock is a link to it
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"search.storage={search.storage}: not a journal file of Optuna ({format_error(error)})"
            ) from None
    if url.drivername == "sqlite":
        Path(url.database or ".").absolute().parent.mkdir(parents=True, exist_ok=True)
    return RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs=ENGINE,
        heartbeat_interval=search.heartbeat,
        grace_period=3 * search.heartbeat,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MAX_RETRIES),
    )


@contextmanager
def explained(search: Search) -> Iterator[None]:
    """Raises the errors of a storage as a ValueError, without the password of its URL."""
    try:
        yield
    except _STORAGE_ERRORS as error:
        raise ValueError(f"search.storage={shown(search.storage)}: {_reason(error)}") from error


def shown(storage: str) -> str:
    """The storage without its password."""
    return re.sub(r"(?<=://)([^:@]*):(.*)@", r"\1:***@", storage)


def dashboard_storage(search: Search) -> str:
    """The storage as optuna-dashboard takes it, without its password."""
    return shown(search.storage).replace("postgresql://", "postgresql+pg8000://")


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    cause = getattr(cause, "orig", None) or cause
    message = cause.args[0] if cause.args else ""
    if isinstance(message, dict):  # of a PostgreSQL server, as pg8000 raises it
        message = message.get("M")
    return f"cannot be reached or read ({' '.join(str(message or cause).split())[:200]})"
