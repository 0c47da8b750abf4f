"""What the router keeps: endpoints, rules, and what they could not do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _times() -> tuple[sa.Column[object], ...]:
    return tuple(
        sa.Column(name, sa.DateTime, server_default=sa.func.now(), nullable=False)
        for name in ("created_at", "updated_at")
    )


def upgrade() -> None:
    op.create_table(
        "router_endpoints",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(36)),
        sa.Column("is_shared", sa.Boolean, server_default=sa.false(), nullable=False),
        sa.Column("properties", sa.JSON, nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("id", name="pk_router_endpoints"),
    )
    op.create_index("ix_router_endpoints_project_id", "router_endpoints", ["project_id"])
    op.create_table(
        "rules",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("domain_id", sa.String(36), nullable=False),
        sa.Column("source", sa.String(36), nullable=False),
        sa.Column("source_resource", sa.JSON, nullable=False),
        sa.Column("target", sa.String(36), nullable=False),
        sa.Column("target_resource", sa.JSON, nullable=False),
        sa.Column("in_use", sa.Boolean, server_default=sa.true(), nullable=False),
        sa.Column("is_deleted", sa.Boolean, server_default=sa.false(), nullable=False),
        *_times(),
        sa.Column("success_messages", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("fail_messages", sa.BigInteger, server_default="0", nullable=False),
        sa.CheckConstraint("success_messages >= 0", name="ck_rules_successes"),
        sa.CheckConstraint("fail_messages >= 0", name="ck_rules_failures"),
        *(
            sa.ForeignKeyConstraint([side], ["router_endpoints.id"], name=f"fk_rules_{side}")
            for side in ("source", "target")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rules"),
    )
    for column in ("project_id", "domain_id", "source", "target"):
        op.create_index(f"ix_rules_{column}", "rules", [column])
    op.create_table(
        "rule_errors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("rule", sa.String(36), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule"], ["rules.id"], name="fk_rule_errors_rules", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rule_errors"),
    )
    op.create_index("ix_rule_errors_rule_id", "rule_errors", ["rule", "id"])
