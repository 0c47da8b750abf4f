"""How far a node has followed its cloud."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sync",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("store", sa.String(36), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_sync_single"),
        sa.PrimaryKeyConstraint("id", name="pk_sync"),
    )
