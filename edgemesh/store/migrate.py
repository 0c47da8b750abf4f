"""Bringing a database to the tables of this version."""

from __future__ import annotations

import uuid
from importlib.resources import files

from sqlalchemy import Connection, insert, inspect, text

from edgemesh.store import cloud_tables, router_tables, sync_tables
from edgemesh.store.tables import Base, IdentityRow, RevisionRow

# A table is known once its module has been imported.
TABLES = (cloud_tables, router_tables, sync_tables)
# The last of migrations/versions; a test compares.
HEAD = "0005"

# Any number will do that nobody else locks in this database.
_UPGRADE_LOCK = 0x65646765


def upgrade(connection: Connection) -> None:
    """Bring a database up to date, in the transaction of its connection.

    Alembic costs an agent 11 MiB, for good, and few starts have anything to migrate: it is
    imported only when it has work to do. A new database gets the tables as they are now.
    """
    if connection.dialect.name == "postgresql":
        # Replicas that start at once take turns; the lock goes with the transaction.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    if not inspect(connection).get_table_names():
        _create(connection)
    elif _revision(connection) != HEAD:
        migrate(connection)


def migrate(connection: Connection) -> None:
    """Run the migrations that a database lacks, from the first on where it is empty."""
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(files("edgemesh.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(connection: Connection) -> None:
    """Make what the migrations come to (Alembic's cookbook, "from scratch")."""
    Base.metadata.create_all(connection)
    connection.execute(insert(RevisionRow).values(id=1, value=0, floor=0))
    connection.execute(insert(IdentityRow).values(id=1, uid=str(uuid.uuid4())))
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _revision(connection: Connection) -> str | None:
    """Of the migration that the database has come to, None when it is new."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
