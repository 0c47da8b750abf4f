"""What the database refuses, in words for an operator."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from edgemesh.model.errors import OperatorError

# https://www.sqlite.org/rescode.html: primary codes are the low byte.
_PRIMARY_CODE = 0xFF
_CORRUPTION = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class StoreError(OperatorError):
    """The database did not do what it was asked: nothing was changed."""


@contextmanager
def database_errors(what: str) -> Iterator[None]:
    """Turn what the world does to a database into a StoreError.

    A violated constraint or a wrong statement is our own mistake and stays what it is.

    Args:
        what: what was refused, "write" or "read".
    """
    try:
        yield
    except (IntegrityError, ProgrammingError):
        raise
    except DBAPIError as error:
        raise StoreError(f"store: {what} refused: {error.orig}", _remedy(error)) from error


def is_corruption(error: DBAPIError) -> bool:
    """Whether SQLite says that the file is damaged or no database."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _CORRUPTION


def _remedy(error: DBAPIError) -> str:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return ""
    if is_corruption(error):
        return "restart the agent: it sets the damaged file aside and starts a new one"
    if code & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
        return "free some space; nothing needs a restart"
    return ""
