"""What tells stores apart, and what a cloud keeps: its authority, revocations, replicas."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    identity = op.create_table(
        "identity",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_identity_single"),
        sa.PrimaryKeyConstraint("id", name="pk_identity"),
    )
    op.bulk_insert(identity, [{"id": 1, "uid": str(uuid.uuid4())}])
    _authority()
    _certificates()
    _replicas()


def _authority() -> None:
    op.create_table(
        "authority",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("certificate", sa.Text, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_authority_single"),
        sa.PrimaryKeyConstraint("id", name="pk_authority"),
    )
    op.create_table(
        "authority_key",
        sa.Column("id", sa.SmallInteger, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("token_secret", sa.String(128), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_authority_key_single"),
        sa.ForeignKeyConstraint(
            ["id"], ["authority.id"], name="fk_authority_key_authority", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_authority_key"),
    )


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("serial", name="pk_certificates"),
    )
    op.create_index("ix_certificates_node", "certificates", ["node"])
    op.create_table(
        "revoked_nodes",
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_revoked_nodes"),
    )
    op.create_table(
        "spent_tokens",
        sa.Column("token", sa.String(36), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_spent_tokens"),
    )


def _replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_replicas"),
    )
    op.create_table(
        "presence",
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("replica", sa.String(253), nullable=False),
        sa.Column("session", sa.String(36), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["replica"], ["replicas.name"], name="fk_presence_replicas", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("node", name="pk_presence"),
    )
    op.create_index("ix_presence_replica", "presence", ["replica"])
    op.create_table(
        "mailbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("replica", sa.String(253), nullable=False),
        sa.Column("sender", sa.String(253), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("request", sa.String(36), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mailbox"),
    )
    op.create_index("ix_mailbox_replica", "mailbox", ["replica"])
