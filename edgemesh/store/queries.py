"""The statements that read objects, the same for readers and for a transaction that writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    and_,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.store.rows import OBJECT_COLUMNS, Scope, object_from_row
from edgemesh.store.tables import LabelRow, ObjectRow, RevisionRow, SelectorRow, TombstoneRow
from edgemesh.wire.labelselector import Comparison, Requirement, Selector

_FETCHED_AT_ONCE = 50
_TOMBSTONE_COLUMNS = (
    TombstoneRow.kind,
    TombstoneRow.namespace,
    TombstoneRow.name,
    TombstoneRow.uid,
    TombstoneRow.revision,
    TombstoneRow.origin,
    TombstoneRow.body,
)


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
    statement = select(*OBJECT_COLUMNS).where(
        ObjectRow.kind == key.kind,
        ObjectRow.namespace == key.namespace,
        ObjectRow.name == key.name,
    )
    row = connection.execute(statement).one_or_none()
    return None if row is None else object_from_row(row)


def list_objects(connection: Connection, scope: Scope, selector: Selector = ()) -> list[KubeObject]:
    """Objects of a scope whose labels satisfy a selector, by kind, namespace and name."""
    statement = (
        select(*OBJECT_COLUMNS)
        .where(*_within(ObjectRow, scope), *(_satisfied(one) for one in selector))
        .order_by(ObjectRow.kind, ObjectRow.namespace, ObjectRow.name)
    )
    return [object_from_row(row) for row in connection.execute(statement)]


def list_changes(connection: Connection, since: int, scope: Scope, budget_bytes: int) -> Page:
    """What became of a scope after a revision.

    One statement reads both tables, so that no database needs more than its weakest isolation
    for a consistent answer.

    Args:
        connection: in a transaction.
        since: the revision that the reader has seen already, 0 for none.
        scope: which objects it wants.
        budget_bytes: enough once bodies of this size have been read; at least one is.
    """
    living = select(*OBJECT_COLUMNS, ObjectRow.created_revision).where(
        ObjectRow.resource_version > since, *_within(ObjectRow, scope)
    )
    deleted = select(*_TOMBSTONE_COLUMNS, null()).where(
        TombstoneRow.revision > since, *_within(TombstoneRow, scope)
    )
    statement: Executable
    if since:
        statement = union_all(living, deleted).order_by(literal_column("resource_version"))
    else:
        statement = living.order_by(ObjectRow.resource_version)
    changes: list[Change] = []
    with connection.execution_options(yield_per=_FETCHED_AT_ONCE).execute(statement) as rows:
        for row in rows:
            if budget_bytes <= 0:
                break
            budget_bytes -= len(row.body)
            changes.append(Change(_change_type(row.created_revision, since), object_from_row(row)))
        complete = budget_bytes > 0 or rows.first() is None
    # Read last: a tombstone that was dropped before the statement above is below this floor.
    floor = connection.execute(select(RevisionRow.floor)).scalar_one()
    return Page(changes, complete, floor)


def last_revision(connection: Connection) -> int:
    """The last revision that was given out."""
    return connection.execute(select(RevisionRow.value)).scalar_one()


def services_selecting(
    connection: Connection, namespace: str, labels: Mapping[str, str]
) -> list[str]:
    """Names of the Services of a namespace whose whole selector is among these labels."""
    if not labels:
        return []
    pairs = or_(
        *(and_(SelectorRow.key == key, SelectorRow.value == value) for key, value in labels.items())
    )
    statement = (
        select(SelectorRow.name)
        .where(SelectorRow.namespace == namespace, pairs)
        .group_by(SelectorRow.name, SelectorRow.size)
        .having(func.count() == SelectorRow.size)
    )
    return list(connection.scalars(statement))


def _change_type(created_revision: int | None, since: int) -> ChangeType:
    if created_revision is None:
        return ChangeType.DELETE
    return ChangeType.INSERT if created_revision > since else ChangeType.UPDATE


def _within(row: type[ObjectRow | TombstoneRow], scope: Scope) -> list[ColumnElement[bool]]:
    columns: tuple[Any, ...] = (row.kind, row.namespace, row.name)
    return [column == wanted for column, wanted in zip(columns, scope, strict=True) if wanted]


def _satisfied(requirement: Requirement) -> ColumnElement[bool]:
    label = [
        LabelRow.kind == ObjectRow.kind,
        LabelRow.namespace == ObjectRow.namespace,
        LabelRow.name == ObjectRow.name,
        LabelRow.key == requirement.key,
    ]
    if requirement.values:
        label.append(LabelRow.value.in_(sorted(requirement.values)))
    found = exists().where(*label)
    negative = requirement.comparison in {Comparison.NOT_IN, Comparison.DOES_NOT_EXIST}
    return ~found if negative else found
