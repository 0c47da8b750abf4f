"""Alembic's entry: migrates over the connection that ``store.migrate`` passes."""

from __future__ import annotations

from alembic import context

from edgemesh.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
