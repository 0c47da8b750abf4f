"""Reading objects, the same for readers and for a transaction that writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Executable

from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.store import statements
from edgemesh.store.rows import Scope, object_from_row
from edgemesh.wire.labelselector import Selector

_FETCHED_AT_ONCE = 50


class Page(NamedTuple):
    """Changes in the order of their revisions, the last one of each object.

    Args:
        changes: an object that was deleted and has come back is in them as what it is now.
        complete: whether nothing further had happened when they were read.
        floor: whoever stands before it may have missed deletions.
    """

    changes: list[Change]
    complete: bool
    floor: int


def find_object(connection: Connection, key: ObjectKey) -> KubeObject | None:
    """The object of this name, None when there is none."""
    parameters = statements.scope_parameters(Scope(*key))
    row = connection.execute(statements.FIND_OBJECT, parameters).one_or_none()
    return None if row is None else object_from_row(row)


def find_objects(
    connection: Connection, kind: str, keys: Sequence[ObjectKey]
) -> dict[ObjectKey, KubeObject | None]:
    """The objects of these names, all of one kind; None for those that are not there."""
    found: dict[ObjectKey, KubeObject | None] = dict.fromkeys(keys)
    if keys:
        names = [(key.namespace, key.name) for key in keys]
        for row in connection.execute(statements.FIND_OBJECTS, {"of_kind": kind, "names": names}):
            one = object_from_row(row)
            found[one.key] = one
    return found


def find_holders(connection: Connection, uids: Sequence[str]) -> dict[str, ObjectKey | None]:
    """The objects that have these uids; None for a uid that none has."""
    return _keys_by(connection, statements.FIND_HOLDERS, uids)


def find_owners(connection: Connection, values: Sequence[str]) -> dict[str, ObjectKey | None]:
    """The Services that have these addresses and node ports; None for those that are free."""
    return _keys_by(connection, statements.FIND_OWNERS, values)


def _keys_by(
    connection: Connection, statement: Executable, wanted: Sequence[str]
) -> dict[str, ObjectKey | None]:
    found: dict[str, ObjectKey | None] = dict.fromkeys(wanted)
    if wanted:
        for value, *key in connection.execute(statement, {"wanted": list(wanted)}):
            found[value] = ObjectKey(*key)
    return found


def list_objects(connection: Connection, scope: Scope, selector: Selector = ()) -> list[KubeObject]:
    """Objects of a scope whose labels satisfy a selector, by kind, namespace and name."""
    statement = statements.selected_objects(scope, selector)
    rows = connection.execute(statement, statements.scope_parameters(scope))
    return [object_from_row(row) for row in rows]


def list_changes(connection: Connection, since: int, scope: Scope, budget_bytes: int) -> Page:
    """What became of a scope after a revision.

    Args:
        connection: to read from.
        since: the revision that the reader has seen already, 0 for none.
        scope: which objects it wants.
        budget_bytes: enough once bodies of this size have been read; at least one is.
    """
    statement = statements.changes(tuple(map(bool, scope)), first=since == 0)
    parameters = {"since": since, **statements.scope_parameters(scope)}
    changes: list[Change] = []
    complete = True
    with connection.execute(
        statement, parameters, execution_options={"yield_per": _FETCHED_AT_ONCE}
    ) as rows:
        for row in rows:
            if budget_bytes <= 0:
                complete = False
                break
            budget_bytes -= len(row.body)
            changes.append(Change(_change_type(row.created_revision, since), object_from_row(row)))
    # Read last: a tombstone that was dropped before the statement above is below this floor.
    floor = connection.execute(statements.READ_FLOOR).scalar_one()
    return Page(changes, complete, floor)


def last_revision(connection: Connection) -> int:
    """The last revision that was given out."""
    return connection.execute(statements.READ_REVISION).scalar_one()


def store_uid(connection: Connection) -> str:
    """What tells this store from every other."""
    return connection.execute(statements.READ_UID).scalar_one()


def _change_type(created_revision: int | None, since: int) -> ChangeType:
    if created_revision is None:
        return ChangeType.DELETE
    return ChangeType.INSERT if created_revision > since else ChangeType.UPDATE
