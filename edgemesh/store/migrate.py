"""Bringing a database to the tables of this version."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Run the migrations that a database lacks, in the transaction of its connection."""
    config = Config()
    config.set_main_option("script_location", str(files("edgemesh.store") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
