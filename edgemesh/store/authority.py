"""The cloud's authority in the store: its secrets, what it issued, and whom it shut out."""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from edgemesh.store.cloud_tables import (
    AuthorityKeyRow,
    AuthorityRow,
    CertificateRow,
    RevokedNodeRow,
    SpentTokenRow,
)
from edgemesh.store.store import Store


class Secrets(NamedTuple):
    """What makes an authority the one it is.

    Args:
        certificate, key: PEM.
        token_secret: signs tokens.
    """

    certificate: str
    key: str
    token_secret: str

    def __repr__(self) -> str:
        """Without the secrets, so that no log ever has them."""
        return "Secrets(...)"


class Issued(NamedTuple):
    """A certificate that was issued.

    Args:
        serial: hexadecimal.
        node: whose it is.
        expires: seconds since 1970.
    """

    serial: str
    node: str
    expires: int


class Revocations(NamedTuple):
    """Who is shut out.

    Args:
        nodes: with all their certificates, and from enrolling.
        serials: of single certificates, hexadecimal.
    """

    nodes: frozenset[str]
    serials: frozenset[str]


class AuthorityTable:
    """The rows about the authority; replicas that share the store share it.

    Args:
        store: open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load_or_keep(self, new: Secrets) -> Secrets:
        """The secrets in the store; where there are none, ``new`` becomes them.

        Two replicas that start at once come to the same ones.

        Raises:
            StoreError: the store cannot be written.
        """
        try:
            return await self._store.write_rows(lambda connection: _load_or_keep(connection, new))
        except IntegrityError:
            # Another replica was first, and its transaction is over.
            return await self._store.write_rows(lambda connection: _load_or_keep(connection, new))

    async def spend(self, token: str, key: str, expires: int) -> bool:
        """Note the use of a token that is good for one key; False when another has had it.

        Args:
            token: its id.
            key: the SHA-256 of the public key that a certificate is asked for.
            expires: seconds since 1970, when it need not be remembered any more.
        """

        def work(connection: Connection) -> bool:
            connection.execute(delete(SpentTokenRow).where(SpentTokenRow.expires < _now()))
            spent = select(SpentTokenRow.key).where(SpentTokenRow.token == token)
            had_by = connection.execute(spent).scalar()
            if had_by is not None:
                return bool(key) and had_by == key
            connection.execute(insert(SpentTokenRow).values(token=token, key=key, expires=expires))
            return True

        try:
            return await self._store.write_rows(work)
        except IntegrityError:
            # Another replica was first, and its transaction is over.
            return await self._store.write_rows(work)

    async def note_issued(self, issued: Issued) -> None:
        """Keep the serial number of a certificate, so that it can be revoked."""

        def work(connection: Connection) -> None:
            connection.execute(delete(CertificateRow).where(CertificateRow.expires < _now()))
            connection.execute(insert(CertificateRow).values(**issued._asdict()))

        await self._store.write_rows(work)

    async def revoke(self, node: str) -> int:
        """Shut a node out.

        Returns:
            How many valid certificates it had.
        """

        def work(connection: Connection) -> int:
            now = _now()
            revoked = connection.execute(
                update(CertificateRow)
                .where(CertificateRow.node == node, CertificateRow.revoked_at.is_(None))
                .values(revoked_at=now)
            ).rowcount
            connection.execute(delete(RevokedNodeRow).where(RevokedNodeRow.node == node))
            connection.execute(insert(RevokedNodeRow).values(node=node, revoked_at=now))
            return revoked

        return await self._store.write_rows(work)

    async def readmit(self, node: str) -> bool:
        """Let a node enrol again; the certificates that it had stay revoked.

        Returns:
            Whether it had been shut out.
        """

        def work(connection: Connection) -> bool:
            found = delete(RevokedNodeRow).where(RevokedNodeRow.node == node)
            return connection.execute(found).rowcount > 0

        return await self._store.write_rows(work)

    async def revocations(self) -> Revocations:
        """Who is shut out now."""

        def query(connection: Connection) -> Revocations:
            serials = select(CertificateRow.serial).where(
                CertificateRow.revoked_at.is_not(None), CertificateRow.expires >= _now()
            )
            return Revocations(
                frozenset(connection.scalars(select(RevokedNodeRow.node))),
                frozenset(connection.scalars(serials)),
            )

        return await self._store.read_rows(query)


def _load_or_keep(connection: Connection, new: Secrets) -> Secrets:
    found = connection.execute(
        select(AuthorityRow.certificate, AuthorityKeyRow.key, AuthorityKeyRow.token_secret).join(
            AuthorityKeyRow, AuthorityKeyRow.id == AuthorityRow.id
        )
    ).one_or_none()
    if found is not None:
        return Secrets(*found)
    connection.execute(insert(AuthorityRow).values(id=1, certificate=new.certificate))
    connection.execute(
        insert(AuthorityKeyRow).values(id=1, key=new.key, token_secret=new.token_secret)
    )
    return new


def _now() -> int:
    return int(time.time())
