"""Replicas that share a PostgreSQL: who lives, which node is where, and mail between them.

The database's clock decides who lives and what is too old, for those of replicas differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Connection, cast, delete, func, insert, select, update

from edgemesh.store.cloud_tables import MailRow, PresenceRow, ReplicaRow
from edgemesh.store.notices import notify
from edgemesh.store.store import Store

# First words of notices.
MAIL_NOTICE = "mail"
PRESENCE_NOTICE = "present"

_NOW = cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)


class Replica(NamedTuple):
    """One that lives.

    Args:
        name: of it.
        address: ``host:port`` of its hub, for other replicas; "" where it has none.
    """

    name: str
    address: str


class Whereabouts(NamedTuple):
    """A session that began, or ended.

    Args:
        node: whose.
        session: its id.
        here: whether it began.
    """

    node: str
    session: str
    here: bool


class Mail(NamedTuple):
    """A Message from one replica to another.

    Args:
        sender: name of the replica.
        node: that it is about.
        kind: a word that both know.
        request: id that an answer has too.
        body: the Message, or why there is none.
        seconds: that it is good for.
    """

    sender: str
    node: str
    kind: str
    request: str
    body: str
    seconds: float


class ReplicaTable:
    """The rows about replicas, for one of them.

    Args:
        store: a shared one.
        name: of this replica.
        address: ``host:port`` of its hub, for others.
        seconds: that it is believed to live after it has said so.
    """

    def __init__(self, store: Store, name: str, address: str, seconds: float) -> None:
        self._store = store
        self._name = name
        self._address = address
        self._milliseconds = int(seconds * 1000)

    async def announce(self) -> tuple[list[Replica], bool]:
        """Say that this replica lives, and clear away those that do not.

        Returns:
            All that live, and whether this one was not among them before: then nobody knows of
            its sessions.

        Raises:
            StoreError: the store cannot be written.
        """

        def work(connection: Connection) -> tuple[list[Replica], bool]:
            new = self._say_alive(connection)
            connection.execute(delete(ReplicaRow).where(ReplicaRow.alive_until < _NOW))
            connection.execute(delete(MailRow).where(MailRow.expires < _NOW))
            found = select(ReplicaRow.name, ReplicaRow.address).order_by(ReplicaRow.name)
            return [Replica(*row) for row in connection.execute(found)], new

        return await self._store.write_rows(work)

    async def leave(self) -> None:
        """Say that this replica ends."""
        gone = delete(ReplicaRow).where(ReplicaRow.name == self._name)
        await self._store.write_rows(lambda connection: connection.execute(gone))

    async def note(
        self, changes: Sequence[Whereabouts], is_true: Callable[[Whereabouts], bool]
    ) -> None:
        """Note sessions of this replica that began or ended, in this order.

        Args:
            changes: see there.
            is_true: whether one is so by now, asked in the writer thread: what is told late of a
                node that has gone on to another replica would end its connection there.

        Raises:
            StoreError: the store cannot be written.
        """

        def work(connection: Connection) -> None:
            if any(change.here for change in changes):
                self._say_alive(connection)
            for change in filter(is_true, changes):
                of_node = delete(PresenceRow).where(PresenceRow.node == change.node)
                if not change.here:
                    connection.execute(of_node.where(PresenceRow.session == change.session))
                    continue
                connection.execute(of_node)
                values = {"node": change.node, "replica": self._name, "session": change.session}
                connection.execute(insert(PresenceRow).values(**values, since=_NOW))
                notice = f"{PRESENCE_NOTICE} {change.node} {change.session} {self._name}"
                notify(connection, notice)

        await self._store.write_rows(work)

    async def where(self, node: str) -> Replica | None:
        """The replica that a node is connected to, None when it is to none that lives.

        Raises:
            StoreError: the store cannot be read.
        """
        found = (
            select(ReplicaRow.name, ReplicaRow.address)
            .join(PresenceRow, PresenceRow.replica == ReplicaRow.name)
            .where(PresenceRow.node == node, ReplicaRow.alive_until >= _NOW)
        )

        def query(connection: Connection) -> Replica | None:
            row = connection.execute(found).one_or_none()
            return None if row is None else Replica(*row)

        return await self._store.read_rows(query)

    async def post(self, to: str, mail: Mail) -> None:
        """Leave mail for a replica.

        Raises:
            StoreError: the store cannot be written.
        """
        values = {**mail._asdict(), "replica": to}
        milliseconds = int(values.pop("seconds") * 1000)

        def work(connection: Connection) -> None:
            connection.execute(insert(MailRow).values(**values, expires=_NOW + milliseconds))
            notify(connection, f"{MAIL_NOTICE} {to}")

        await self._store.write_rows(work)

    async def take(self) -> list[Mail]:
        """Take all mail for this replica; it is nobody's after that.

        Raises:
            StoreError: the store cannot be written.
        """
        seconds = (MailRow.expires - _NOW) / 1000.0
        taken = (
            delete(MailRow)
            .where(MailRow.replica == self._name)
            .returning(
                MailRow.id,
                MailRow.sender,
                MailRow.node,
                MailRow.kind,
                MailRow.request,
                MailRow.body,
                seconds,
            )
        )

        def work(connection: Connection) -> list[Mail]:
            rows = sorted(connection.execute(taken), key=lambda row: row.id)
            mails = [Mail(*row[1:6], seconds=float(row[6])) for row in rows]
            return [mail for mail in mails if mail.seconds > 0]

        return await self._store.write_rows(work)

    def _say_alive(self, connection: Connection) -> bool:
        """Renew the row of this replica; true when there was none."""
        values = {"address": self._address, "alive_until": _NOW + self._milliseconds}
        renewed = update(ReplicaRow).where(ReplicaRow.name == self._name).values(**values)
        if connection.execute(renewed).rowcount:
            return False
        connection.execute(insert(ReplicaRow).values(name=self._name, **values))
        return True
