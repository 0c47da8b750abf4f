"""Bringing a database to the tables of this version."""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy import Connection, inspect, text

# The last of migrations/versions; a test compares.
HEAD = "0001"


def upgrade(connection: Connection) -> None:
    """Run the migrations that a database lacks, in the transaction of its connection.

    Alembic costs an agent 11 MiB, for good, and most starts have nothing to migrate: it is
    imported only when it has work to do.
    """
    if _revision(connection) == HEAD:
        return
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(files("edgemesh.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    """Of the migration that the database has come to, None when it is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
