"""Objects, what is searched in them, what derives from them, and the count of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _key_of_object() -> tuple[sa.Column[str], ...]:
    return (
        sa.Column("kind", sa.String(63), primary_key=True),
        sa.Column("namespace", sa.String(63), primary_key=True),
        sa.Column("name", sa.String(253), primary_key=True),
    )


def _owned_by_object(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["kind", "namespace", "name"],
        ["objects.kind", "objects.namespace", "objects.name"],
        name=f"fk_{table}_objects",
        ondelete="CASCADE",
    )


def upgrade() -> None:
    op.create_table(
        "objects",
        *_key_of_object(),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("created_revision", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("uid", name="uq_objects_uid"),
        sa.UniqueConstraint("resource_version", name="uq_objects_resource_version"),
        sa.CheckConstraint(
            "origin IN ('applied', 'derived', 'synced')", name="ck_objects_origin"
        ),
        sa.PrimaryKeyConstraint("kind", "namespace", "name", name="pk_objects"),
    )
    op.create_index(
        "ix_objects_kind_resource_version", "objects", ["kind", "resource_version"]
    )
    size_of_selector = (sa.Column("size", sa.SmallInteger, nullable=False),)
    for table, size in (("labels", ()), ("selectors", size_of_selector)):
        op.create_table(
            table,
            *_key_of_object(),
            sa.Column("key", sa.String(317), primary_key=True),
            sa.Column("value", sa.String(63), nullable=False),
            *size,
            sa.PrimaryKeyConstraint("kind", "namespace", "name", "key", name=f"pk_{table}"),
            _owned_by_object(table),
        )
    op.create_index(
        "ix_labels_kind_namespace_key_value", "labels", ["kind", "namespace", "key", "value"]
    )
    op.create_index("ix_selectors_namespace_key_value", "selectors", ["namespace", "key", "value"])
    op.create_table(
        "allocations",
        sa.Column("value", sa.String(64), nullable=False),
        sa.Column("service_uid", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["service_uid"], ["objects.uid"], name="fk_allocations_objects", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("value", name="pk_allocations"),
    )
    op.create_index("ix_allocations_service_uid", "allocations", ["service_uid"])
    op.create_table(
        "tombstones",
        sa.Column("revision", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("namespace", sa.String(63), nullable=False),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_tombstones"),
    )
    counter = op.create_table(
        "revision",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_revision_single"),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.bulk_insert(counter, [{"id": 1, "value": 0, "floor": 0}])
