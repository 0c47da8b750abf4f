"""For which key a token was used: who has missed the answer may ask again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "spent_tokens", sa.Column("key", sa.String(64), server_default="", nullable=False)
    )
