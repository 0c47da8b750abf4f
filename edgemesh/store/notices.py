"""What processes that share a database tell each other: PostgreSQL's LISTEN and NOTIFY.

A notice only says where to look; everything that matters is in tables. So one that is lost, as
all are while the connection is down, costs time alone: whoever listens looks from time to time
anyway. SQLite has no such thing, and its file has one writer that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import trio
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import psycopg

_CHANNEL: Final = "edgemesh"
_NOTIFY: Final = text("SELECT pg_notify(:channel, :notice)")


def is_shared(engine: Engine) -> bool:
    """Whether other processes may write to the same database, and tell."""
    return engine.dialect.name == "postgresql"


def notify(connection: Connection, notice: str) -> None:
    """Tell all that listen, with the commit of the transaction; nothing on other databases.

    Args:
        connection: in its transaction.
        notice: a word, and what it is about.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_NOTIFY, {"channel": _CHANNEL, "notice": notice})


class Listener:
    """Hears notices.

    Args:
        engine: of the database.
        seconds: between two looks, whatever is heard.
        warn: is told why the database cannot be listened to for now.
    """

    def __init__(self, engine: Engine, seconds: float, warn: Callable[[str], None]) -> None:
        self._engine = engine
        self._seconds = seconds
        self._warn = warn

    async def run(
        self,
        hear: Callable[[str], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Call ``hear`` with each notice, and with "" when it is time to look, until cancelled."""
        # Not imported where SQLite is used: it is an extra.
        import psycopg  # noqa: PLC0415

        started = False
        while True:
            try:
                connection = await trio.to_thread.run_sync(self._open)
            except DBAPIError as error:
                self._warn(str(error.orig).strip())
                hear("")
                await trio.sleep(self._seconds)
                continue
            if not started:
                started = True
                task_status.started()
            try:
                await self._follow(connection, hear)
            except psycopg.OperationalError as error:
                self._warn(str(error).strip())
            finally:
                connection.close()

    def _open(self) -> psycopg.Connection:
        pooled = self._engine.raw_connection()
        connection: psycopg.Connection = pooled.driver_connection  # type: ignore[assignment]
        pooled.detach()
        connection.autocommit = True
        connection.execute(f"LISTEN {_CHANNEL}")
        return connection

    async def _follow(self, connection: psycopg.Connection, hear: Callable[[str], None]) -> None:
        # What happened before LISTEN nobody has told.
        hear("")
        look_at = trio.current_time() + self._seconds
        while True:
            with trio.move_on_at(look_at):
                await trio.lowlevel.wait_readable(connection.fileno())
            connection.pgconn.consume_input()
            while notice := connection.pgconn.notifies():
                hear(notice.extra.decode())
            if trio.current_time() >= look_at:
                hear("")
                look_at = trio.current_time() + self._seconds
