"""The router's tables, named and sized as in the design that the project came from.

They repeat what Rule and RuleEndpoint objects say, and keep what objects have no place for: how
often a rule was applied, and what failed. Times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    false,
    func,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from edgemesh.store.tables import Base, Uid

_Name = String(64)
_Id36 = String(36)
# SQLite counts by itself in a column of this type only.
_Count = BigInteger().with_variant(Integer, "sqlite")


class RouterEndpointRow(Base):
    """How to reach what a rule leads from or to."""

    __tablename__ = "router_endpoints"

    id: Mapped[str] = mapped_column(Uid, primary_key=True)
    type: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(_Name)
    project_id: Mapped[str | None] = mapped_column(_Id36, index=True)
    is_shared: Mapped[bool] = mapped_column(Boolean, server_default=false())
    properties: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime, server_default=func.now(), onupdate=func.now()
    )

    rules_from: Mapped[list[RuleRow]] = relationship(
        back_populates="source_endpoint", foreign_keys="RuleRow.source", viewonly=True
    )
    rules_to: Mapped[list[RuleRow]] = relationship(
        back_populates="target_endpoint", foreign_keys="RuleRow.target", viewonly=True
    )


class RuleRow(Base):
    """What leads Messages from one endpoint to another."""

    __tablename__ = "rules"
    __table_args__ = (
        CheckConstraint("success_messages >= 0", name="successes"),
        CheckConstraint("fail_messages >= 0", name="failures"),
    )

    id: Mapped[str] = mapped_column(Uid, primary_key=True)
    name: Mapped[str] = mapped_column(_Name)
    project_id: Mapped[str] = mapped_column(_Id36, index=True)
    domain_id: Mapped[str] = mapped_column(_Id36, index=True)
    source: Mapped[str] = mapped_column(
        Uid, ForeignKey("router_endpoints.id", name="fk_rules_source"), index=True
    )
    source_resource: Mapped[dict[str, Any]] = mapped_column(JSON)
    target: Mapped[str] = mapped_column(
        Uid, ForeignKey("router_endpoints.id", name="fk_rules_target"), index=True
    )
    target_resource: Mapped[dict[str, Any]] = mapped_column(JSON)
    in_use: Mapped[bool] = mapped_column(Boolean, server_default=true())
    is_deleted: Mapped[bool] = mapped_column(Boolean, server_default=false())
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime, server_default=func.now(), onupdate=func.now()
    )
    success_messages: Mapped[int] = mapped_column(BigInteger, server_default="0")
    fail_messages: Mapped[int] = mapped_column(BigInteger, server_default="0")

    source_endpoint: Mapped[RouterEndpointRow] = relationship(
        back_populates="rules_from", foreign_keys=[source], viewonly=True
    )
    target_endpoint: Mapped[RouterEndpointRow] = relationship(
        back_populates="rules_to", foreign_keys=[target], viewonly=True
    )
    errors: Mapped[list[RuleErrorRow]] = relationship(back_populates="of_rule", viewonly=True)


class RuleErrorRow(Base):
    """Something that a rule could not do; the latest of each rule are kept."""

    __tablename__ = "rule_errors"
    __table_args__ = (Index(None, "rule", "id"),)

    id: Mapped[int] = mapped_column(_Count, primary_key=True)
    rule: Mapped[str] = mapped_column(Uid, ForeignKey("rules.id", ondelete="CASCADE"))
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.now())

    of_rule: Mapped[RuleRow] = relationship(back_populates="errors", viewonly=True)
