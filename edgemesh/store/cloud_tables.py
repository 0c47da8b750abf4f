"""The tables that only a cloud fills: its authority, who was shut out, and its replicas.

Times are seconds since 1970, expiry of short-lived rows milliseconds; where replicas compare
them, the database's clock counts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Integer,
    SmallInteger,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from edgemesh.store.tables import Base, ObjectName, Uid

# SQLite counts by itself in a column of this type only.
_Count = BigInteger().with_variant(Integer, "sqlite")


class AuthorityRow(Base):
    """The certificate of the authority that all replicas share."""

    __tablename__ = "authority"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    certificate: Mapped[str] = mapped_column(Text)


class AuthorityKeyRow(Base):
    """What it signs certificates and tokens with, apart, so that a role may be kept from it."""

    __tablename__ = "authority_key"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(
        SmallInteger,
        ForeignKey("authority.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    )
    key: Mapped[str] = mapped_column(Text)
    token_secret: Mapped[str] = mapped_column(String(128))


class CertificateRow(Base):
    """A certificate that was issued to a node, until it expires."""

    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    node: Mapped[str] = mapped_column(ObjectName, index=True)
    expires: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class RevokedNodeRow(Base):
    """A node that was shut out; it enrols again with a token that names it, and no other."""

    __tablename__ = "revoked_nodes"

    node: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    revoked_at: Mapped[int] = mapped_column(BigInteger)


class SpentTokenRow(Base):
    """A token that was good for one enrolment and has had it, and the SHA-256 of the node's key."""

    __tablename__ = "spent_tokens"

    token: Mapped[str] = mapped_column(Uid, primary_key=True)
    expires: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(64), server_default="")


class ReplicaRow(Base):
    """A process that serves this store; gone when it has not said for a while that it lives."""

    __tablename__ = "replicas"

    name: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    address: Mapped[str] = mapped_column(String(255))
    alive_until: Mapped[int] = mapped_column(BigInteger)


class PresenceRow(Base):
    """Where a node's session is."""

    __tablename__ = "presence"

    node: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    replica: Mapped[str] = mapped_column(
        ObjectName, ForeignKey("replicas.name", ondelete="CASCADE"), index=True
    )
    session: Mapped[str] = mapped_column(Uid)
    since: Mapped[int] = mapped_column(BigInteger)


class MailRow(Base):
    """A Message on its way from one replica to another; whoever takes it deletes it."""

    __tablename__ = "mailbox"

    id: Mapped[int] = mapped_column(_Count, primary_key=True)
    replica: Mapped[str] = mapped_column(ObjectName, index=True)
    sender: Mapped[str] = mapped_column(ObjectName)
    node: Mapped[str] = mapped_column(ObjectName)
    kind: Mapped[str] = mapped_column(String(16))
    request: Mapped[str] = mapped_column(Uid)
    body: Mapped[str] = mapped_column(Text)
    expires: Mapped[int] = mapped_column(BigInteger)
