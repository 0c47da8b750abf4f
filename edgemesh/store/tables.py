"""The tables. Rows never leave this room; what does is in ``edgemesh.model.objects``."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    SmallInteger,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Lengths are those that Kubernetes allows: a DNS label, a DNS subdomain, a label's
# prefix/name, a UUID.
KindName = String(63)
NamespaceName = String(63)
ObjectName = String(253)
LabelKey = String(317)
LabelValue = String(63)
Uid = String(36)


class Base(DeclarativeBase):
    """All tables, with constraint names that do not depend on the database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class ObjectRow(Base):
    """One Kubernetes object as it is now.

    ``body`` is the whole object as JSON without ``metadata.resourceVersion``, which would only
    repeat ``resource_version``; nothing is ever searched in it. ``created_revision`` tells
    whether an object is new to a watcher that comes from an earlier revision.
    """

    __tablename__ = "objects"
    __table_args__ = (
        CheckConstraint("origin IN ('applied', 'derived', 'synced')", name="origin"),
        Index(None, "kind", "resource_version"),
    )

    kind: Mapped[str] = mapped_column(KindName, primary_key=True)
    namespace: Mapped[str] = mapped_column(NamespaceName, primary_key=True)
    name: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    uid: Mapped[str] = mapped_column(Uid, unique=True)
    resource_version: Mapped[int] = mapped_column(BigInteger, unique=True)
    created_revision: Mapped[int] = mapped_column(BigInteger)
    origin: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)


def _owned_by_object() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["kind", "namespace", "name"],
        ["objects.kind", "objects.namespace", "objects.name"],
        ondelete="CASCADE",
    )


class LabelRow(Base):
    """One label of one object: what label selectors search."""

    __tablename__ = "labels"
    __table_args__ = (_owned_by_object(), Index(None, "kind", "namespace", "key", "value"))

    kind: Mapped[str] = mapped_column(KindName, primary_key=True)
    namespace: Mapped[str] = mapped_column(NamespaceName, primary_key=True)
    name: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    key: Mapped[str] = mapped_column(LabelKey, primary_key=True)
    value: Mapped[str] = mapped_column(LabelValue)


class SelectorRow(Base):
    """One pair of one Service's selector: finds the Services that select a Pod.

    ``size`` is the number of pairs that the selector has; a Pod that matches as many is
    selected.
    """

    __tablename__ = "selectors"
    __table_args__ = (_owned_by_object(), Index(None, "namespace", "key", "value"))

    kind: Mapped[str] = mapped_column(KindName, primary_key=True)
    namespace: Mapped[str] = mapped_column(NamespaceName, primary_key=True)
    name: Mapped[str] = mapped_column(ObjectName, primary_key=True)
    key: Mapped[str] = mapped_column(LabelKey, primary_key=True)
    value: Mapped[str] = mapped_column(LabelValue)
    size: Mapped[int] = mapped_column(SmallInteger)


class AllocationRow(Base):
    """A cluster address or node port that belongs to one Service while that exists.

    ``value`` is the canonical address, or ``TCP/30080``; the key makes it unique.
    """

    __tablename__ = "allocations"

    value: Mapped[str] = mapped_column(String(64), primary_key=True)
    service_uid: Mapped[str] = mapped_column(
        Uid, ForeignKey("objects.uid", ondelete="CASCADE"), index=True
    )


class TombstoneRow(Base):
    """A deleted object, kept for a while so that watchers hear of its end."""

    __tablename__ = "tombstones"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(KindName)
    namespace: Mapped[str] = mapped_column(NamespaceName)
    name: Mapped[str] = mapped_column(ObjectName)
    uid: Mapped[str] = mapped_column(Uid)
    origin: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)


class RevisionRow(Base):
    """The one row that counts changes.

    ``value`` is the last revision given out; tombstones up to ``floor`` have been dropped, so
    that a watcher that stands before it has to list again.
    """

    __tablename__ = "revision"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(BigInteger)
    floor: Mapped[int] = mapped_column(BigInteger)


class IdentityRow(Base):
    """The one row that tells this store from every other."""

    __tablename__ = "identity"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    uid: Mapped[str] = mapped_column(Uid)
