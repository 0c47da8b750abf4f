"""Opening a database: engines, SQLite's settings, migrations, quarantine of a damaged file."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from edgemesh.store.errors import StoreError, database_errors, is_corruption
from edgemesh.store.migrate import upgrade

# A write waits this long for another process (a backup, a shell) that holds the file.
_BUSY_MILLISECONDS = 5000
READERS = 4
# postgresql.org/docs, "Parameter Key Words": seconds, but for the last, which is milliseconds.
_SILENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10000,
}
_HEADER_BYTES = 100
_COMPANIONS = ("", "-wal", "-shm")


class Engines(NamedTuple):
    """The two ways into one database, and what was found when it was opened.

    Args:
        writer: one connection, whose transactions take the write lock at once.
        reader: several, whose transactions never take it.
        quarantined: where a damaged file was moved to, None when there was none.
    """

    writer: Engine
    reader: Engine
    quarantined: Path | None

    def dispose(self) -> None:
        """Close all connections."""
        self.writer.dispose()
        self.reader.dispose()


def open_engines(url_text: str) -> Engines:
    """Open, and bring up to date, the database at a SQLAlchemy URL. Blocks.

    Raises:
        StoreError: the URL is wrong, or the database cannot be reached or written.
    """
    try:
        url = _with_driver(make_url(url_text))
        if url.get_backend_name() == "sqlite" and url.database:
            return _open_sqlite(url, Path(url.database))
        with database_errors("start"):
            return _open(url, None)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise StoreError(
            f"store: {_shown(url_text)!r}: {error}",
            "see meta.store_url in the configuration; PostgreSQL needs edgemesh[postgresql]",
        ) from error


def _with_driver(url: URL) -> URL:
    """``postgresql://`` means psycopg 3, and not what SQLAlchemy would take."""
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _shown(url_text: str) -> str:
    """A URL without its password."""
    return re.sub(r"://([^:/@]*):[^@]*@", r"://\1:***@", url_text)


def _open_sqlite(url: URL, path: Path) -> Engines:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        # SQLite gives its companions the mode of the file itself.
        path.touch(mode=0o600, exist_ok=True)
        cut_short = _is_cut_short(path)
    except OSError as error:
        raise StoreError(f"store: {path}: {error.strerror}") from error
    with database_errors(f"start on {path}"):
        try:
            return _open(url, None, cut_short=cut_short)
        except DBAPIError as error:
            if not is_corruption(error):
                raise
        return _open(url, _quarantine(path))


def _open(url: URL, quarantined: Path | None, *, cut_short: bool = False) -> Engines:
    with ExitStack() as until_open:
        writer = _engine(url, pool_size=1, begin="BEGIN IMMEDIATE")
        until_open.callback(writer.dispose)
        with writer.connect() as connection:
            _check(connection)
            if cut_short:
                _check_tables(connection)
        with writer.begin() as connection:
            upgrade(connection)
        until_open.pop_all()
    return Engines(writer, _engine(url, pool_size=READERS, begin="BEGIN"), quarantined)


def _engine(url: URL, *, pool_size: int, begin: str) -> Engine:
    over_network = url.get_backend_name() == "postgresql"
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=url.get_backend_name() != "sqlite",
        connect_args=_patience(url) if over_network else {},
    )
    if engine.dialect.name == "sqlite":
        _set_up_sqlite(engine, begin)
    return engine


def _patience(url: URL) -> dict[str, int]:
    """How long libpq waits for a server that has fallen silent; what the URL says counts more.

    Without it a thread would wait for as long as TCP does: a quarter of an hour.
    """
    return {name: value for name, value in _SILENCE.items() if name not in url.query}


def _set_up_sqlite(engine: Engine, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        # Python's driver would begin transactions by itself, and not before a SELECT.
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout = {_BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            # FULL syncs the log at each commit: what was acknowledged survives a power cut.
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _began(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _check(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        raise _damaged(found)


def _check_tables(connection: Connection) -> None:
    # SQLite takes what is left of less than one page for an empty database. Its log may hold
    # all of it, though.
    if connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one() == 0:
        raise _damaged("the file is cut short")


def _damaged(how: str) -> DBAPIError:
    damage = sqlite3.DatabaseError(how)
    damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return DBAPIError("PRAGMA quick_check(1)", None, damage)


def _is_cut_short(path: Path) -> bool:
    """Whether a file holds less than one page (sqlite.org/fileformat2.html, section 1.3.2)."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    size = path.stat().st_size
    # The page size is a big-endian number at offset 16, where 1 stands for 65536.
    return 0 < size < max(int.from_bytes(header[16:18]), _HEADER_BYTES)


def _quarantine(path: Path) -> Path:
    """Move a damaged database aside, with the log that belongs to it."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for companion in _COMPANIONS:
        damaged = Path(f"{path}{companion}")
        if damaged.exists():
            damaged.rename(f"{aside}{companion}")
    path.touch(mode=0o600)
    return aside
