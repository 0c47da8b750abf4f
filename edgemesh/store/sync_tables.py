"""The table that only a node fills: how far it has followed its cloud."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from edgemesh.store.tables import Base, Uid


class SyncRow(Base):
    """The one row that tells which store was followed, and up to which of its revisions."""

    __tablename__ = "sync"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    store: Mapped[str] = mapped_column(Uid)
    revision: Mapped[int] = mapped_column(BigInteger)
