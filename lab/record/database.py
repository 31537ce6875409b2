"""The hold on a study in a team's database: one ledger at a time, whoever and wherever its driver is."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from lab.errors import RecordError, SpecError, install_extra
from lab.record.folder import locked
from lab.spec.plan import Store

_HOLDER = """
SELECT a.application_name, a.client_addr::text, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :high AND l.objid = :low
"""
_LONGEST_KIND = 30

_FORGET_DEAD = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3")
"""Settings with which the server drops a holder whose machine has vanished within 25 s, not two hours."""


@contextmanager
def held(store: Store, stage: str, wait_s: float) -> Generator[Callable[[], None]]:
    """Hold one stage of a study; the database frees it when this process or its connection ends.

    Gives a function that raises `RecordError` once the hold is lost. PostgreSQL holds by an advisory lock, SQLite by
    a lock file beside the database; for others the study folder's lock has to do.

    Raises:
        RecordError: the database cannot be reached, or another driver holds the stage after `wait_s`; it is named.
    """
    kind = store.url.partition(":")[0]
    if kind.startswith("sqlite"):
        path = make_url(url(store)).database
        if path and path != ":memory:":
            name = hashlib.sha256(store.name(stage).encode()).hexdigest()[:12]
            with locked(Path(f"{path}.{name}.lock"), f"the ledger of stage '{stage}'", wait_s):
                yield lambda: None
            return
    if not kind.startswith("postgresql"):
        yield lambda: None
        return
    try:
        connection = _connect(store)
    except Exception as error:  # SQLAlchemy's and the drivers' errors have no common base
        raise cannot_open(store, error) from error

    def check() -> None:
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            lost = f"storage: lost the connection to the {kind} database ({type(error).__name__})"
            raise RecordError(f"{lost}; resume when it is back") from error

    with connection:
        _take(connection, store.name(stage), stage, wait_s)
        yield check


def check_url(address: str) -> None:
    """Refuse what is no URL of a database that could be opened here; opens nothing.

    Raises:
        SpecError: without the URL, which may hold a password.
    """
    kind = address.partition(":")[0]
    try:
        make_url(url(Store(address, ""))).get_dialect().import_dbapi()
    except ImportError as error:  # of the driver
        raise SpecError("storage", f"no driver is installed ({error.name}); {install_extra('cluster')}") from None
    except Exception:  # SQLAlchemy raises ArgumentError, NoSuchModuleError, ValueError and others
        shown = repr(kind) if ":" in address and len(kind) < _LONGEST_KIND else "this"
        raise SpecError(
            "storage",
            f"{shown} is no kind of database; a URL is needed, such as postgresql://USER@HOST/NAME, or leave it out",
        ) from None


def cannot_open(store: Store, error: Exception) -> RecordError:
    """One line that does not repeat the URL: it may hold a password, and so may what the driver says."""
    kind = store.url.partition(":")[0]
    advice = f"; {install_extra('cluster')} brings a driver" if isinstance(error, ImportError) else ""
    return RecordError(f"storage: the {kind} database cannot be opened ({type(error).__name__}){advice}")


def url(store: Store) -> str:
    """The database's URL; PostgreSQL without a driver named is reached by psycopg, which reads the password from
    `PGPASSWORD` or `~/.pgpass`."""
    return store.url.replace("postgresql://", "postgresql+psycopg://", 1)


def read_only_url(store: Store) -> tuple[str, dict[str, Any]]:
    """The URL by which a database is only read, and SQLAlchemy's options for it."""
    parts = make_url(url(store))
    if parts.drivername in ("sqlite", "sqlite+pysqlite") and parts.database not in (None, "", ":memory:"):
        return f"sqlite:///file:{quote(str(parts.database))}?mode=ro&uri=true", {}
    if parts.drivername.startswith("postgresql"):
        return url(store), {"connect_args": {"options": "-c default_transaction_read_only=on"}}
    return url(store), {}


_WRITTEN_LAST = ("version_info", "alembic_version")
"""The tables in which Optuna notes, once it has made all others, of which version they are."""


def holds_trials(store: Store) -> bool:
    """Whether a database has tables of trials, and all of them: who only looks may come while they are made, and Optuna
    would go on making them. It is only read.

    Raises:
        RecordError: it cannot be opened.
    """
    address, options = read_only_url(store)
    if address.startswith("sqlite:///file:") and not Path(str(make_url(store.url).database)).exists():
        return False
    try:
        engine = sqlalchemy.create_engine(address, poolclass=NullPool, hide_parameters=True, **options)
        with engine.connect() as connection:
            there = sqlalchemy.inspect(connection)
            if not all(there.has_table(name) for name in ("studies", *_WRITTEN_LAST)):
                return False
            written = (sqlalchemy.select(text("1")).select_from(sqlalchemy.table(name)) for name in _WRITTEN_LAST)
            return all(connection.execute(query).first() is not None for query in written)
    except Exception as error:  # as above
        raise cannot_open(store, error) from error


def _connect(store: Store) -> Connection:
    name = f"lab on {socket.gethostname()[:30]}, process {os.getpid()}"
    options: dict[str, Any] = {"application_name": name, "connect_timeout": 10}
    engine = sqlalchemy.create_engine(
        url(store), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options, hide_parameters=True
    )
    connection = engine.connect()
    for setting in _FORGET_DEAD:
        connection.execute(text(f"SET {setting}"))
    return connection


def _take(connection: Connection, name: str, stage: str, wait_s: float) -> None:
    key = hashlib.sha256(name.encode()).digest()
    high, low = int.from_bytes(key[:4], "big") >> 1, int.from_bytes(key[4:8], "big") >> 1
    deadline = time.monotonic() + wait_s
    # Both keys fit into PostgreSQL's signed 32 bits.
    while not connection.execute(text("SELECT pg_try_advisory_lock(:high, :low)"), {"high": high, "low": low}).scalar():
        if time.monotonic() >= deadline:
            holder = connection.execute(text(_HOLDER), {"high": high, "low": low}).first()
            who = f"{holder[0]} ({holder[1] or 'local'}), since {holder[2]}" if holder else "another driver"
            raise RecordError(f"storage: stage '{stage}' of this study is in use by {who}")
        time.sleep(0.2)
