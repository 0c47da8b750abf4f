"""The statements of the store, each built once: building one costs more than running it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    Executable,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from edgemesh.store.rows import OBJECT_COLUMNS, Scope
from edgemesh.store.tables import (
    AllocationRow,
    IdentityRow,
    LabelRow,
    ObjectRow,
    RevisionRow,
    SelectorRow,
    TombstoneRow,
)
from edgemesh.wire.labelselector import NEGATIVE, Requirement, Selector

_TOMBSTONE_COLUMNS = (
    TombstoneRow.kind,
    TombstoneRow.namespace,
    TombstoneRow.name,
    TombstoneRow.uid,
    TombstoneRow.revision,
    TombstoneRow.origin,
    TombstoneRow.body,
)
_Table = type[ObjectRow | LabelRow | SelectorRow | TombstoneRow]


def _this_object(row: type[ObjectRow | LabelRow | SelectorRow]) -> Any:
    """The rows of the object that parameters of an ObjectKey's names name."""
    return and_(
        row.kind == bindparam("of_kind"),
        row.namespace == bindparam("of_namespace"),
        row.name == bindparam("of_name"),
    )


FIND_OBJECT = select(*OBJECT_COLUMNS).where(_this_object(ObjectRow))
INSERT_OBJECT = insert(ObjectRow)
UPDATE_OBJECT = (
    update(ObjectRow)
    .where(_this_object(ObjectRow))
    .values({name: bindparam(name) for name in ("resource_version", "origin", "body")})
)
DELETE_OBJECT = delete(ObjectRow).where(_this_object(ObjectRow))
INSERT_TOMBSTONE = insert(TombstoneRow)
DROP_TOMBSTONES = delete(TombstoneRow).where(TombstoneRow.revision <= bindparam("floor"))

INSERT_LABELS = insert(LabelRow)
DELETE_LABELS = delete(LabelRow).where(_this_object(LabelRow))
INSERT_SELECTOR = insert(SelectorRow)
DELETE_SELECTOR = delete(SelectorRow).where(_this_object(SelectorRow))

# The lock lets no other writer count from the same value, on databases with several writers.
TAKE_REVISION = select(RevisionRow.value, RevisionRow.floor).with_for_update()
READ_REVISION = select(RevisionRow.value)
READ_UID = select(IdentityRow.uid)
READ_FLOOR = select(RevisionRow.floor)
WRITE_REVISION = update(RevisionRow)

_KEY = (ObjectRow.kind, ObjectRow.namespace, ObjectRow.name)
FIND_OBJECTS = select(*OBJECT_COLUMNS).where(
    ObjectRow.kind == bindparam("of_kind"),
    tuple_(ObjectRow.namespace, ObjectRow.name).in_(bindparam("names", expanding=True)),
)
FIND_HOLDERS = select(ObjectRow.uid, *_KEY).where(
    ObjectRow.uid.in_(bindparam("wanted", expanding=True))
)
FIND_OWNERS = (
    select(AllocationRow.value, *_KEY)
    .join(ObjectRow, AllocationRow.service_uid == ObjectRow.uid)
    .where(AllocationRow.value.in_(bindparam("wanted", expanding=True)))
)
INSERT_ALLOCATIONS = insert(AllocationRow)
DELETE_ALLOCATIONS = delete(AllocationRow).where(
    AllocationRow.service_uid == bindparam("of_service")
)


def pair_parameters(pairs: Mapping[str, str]) -> dict[str, str]:
    """The parameters that stand for labels in the statements below."""
    parameters: dict[str, str] = {}
    for index, (key, value) in enumerate(pairs.items()):
        parameters |= {f"key_{index}": key, f"value_{index}": value}
    return parameters


def _pair(row: type[LabelRow | SelectorRow], index: int) -> Any:
    return and_(row.key == bindparam(f"key_{index}"), row.value == bindparam(f"value_{index}"))


@cache
def objects_with_labels(pairs: int) -> Executable:
    """Objects of ``of_kind`` in ``of_namespace`` that have so many labels.

    The subqueries are not correlated, so that every database begins at the few labels and not
    at the many objects.
    """
    statement = select(*OBJECT_COLUMNS).where(
        ObjectRow.kind == bindparam("of_kind"), ObjectRow.namespace == bindparam("of_namespace")
    )
    for index in range(pairs):
        names = select(LabelRow.name).where(
            LabelRow.kind == bindparam("of_kind"),
            LabelRow.namespace == bindparam("of_namespace"),
            _pair(LabelRow, index),
        )
        statement = statement.where(ObjectRow.name.in_(names))
    return statement.order_by(ObjectRow.name)


@cache
def services_selecting(pairs: int) -> Select[str]:
    """Names of the Services in ``of_namespace`` whose whole selector is among so many labels."""
    return (
        select(SelectorRow.name)
        .where(
            SelectorRow.namespace == bindparam("of_namespace"),
            or_(*(_pair(SelectorRow, index) for index in range(pairs))),
        )
        .group_by(SelectorRow.name, SelectorRow.size)
        .having(func.count() == SelectorRow.size)
        .order_by(SelectorRow.name)
    )


@cache
def changes(bounds: tuple[bool, ...], *, first: bool) -> Executable:
    """Changes after ``since``, in their order.

    One statement reads living and deleted objects, so that no database needs more than its
    weakest isolation for a consistent answer.

    Args:
        bounds: which fields of the Scope are set.
        first: whether it is a list that begins: deleted objects do not count.
    """
    living = select(*OBJECT_COLUMNS, ObjectRow.created_revision).where(
        ObjectRow.resource_version > bindparam("since"), *_within(ObjectRow, bounds)
    )
    if first:
        return living.order_by(ObjectRow.resource_version)
    deleted = select(*_TOMBSTONE_COLUMNS, null()).where(
        TombstoneRow.revision > bindparam("since"), *_within(TombstoneRow, bounds)
    )
    return union_all(living, deleted).order_by(literal_column("resource_version"))


def scope_parameters(scope: Scope) -> dict[str, str]:
    """The parameters that stand for a Scope."""
    return {f"of_{field}": value for field, value in scope._asdict().items()}


def selected_objects(scope: Scope, selector: Selector) -> Executable:
    """Objects of a scope whose labels satisfy a selector, by kind, namespace and name."""
    bounds = tuple(map(bool, scope))
    statement = select(*OBJECT_COLUMNS).where(*_within(ObjectRow, bounds))
    for requirement in selector:
        label = aliased(LabelRow)
        matches = and_(
            label.kind == ObjectRow.kind,
            label.namespace == ObjectRow.namespace,
            label.name == ObjectRow.name,
            *_within(label, bounds),
            *_satisfied(label, requirement),
        )
        if requirement.comparison in NEGATIVE:
            statement = statement.where(~exists().where(matches))
        else:
            # An object has each label once, so the join does not repeat it.
            statement = statement.join(label, matches)
    return statement.order_by(ObjectRow.kind, ObjectRow.namespace, ObjectRow.name)


def _within(row: _Table, bounds: tuple[bool, ...]) -> list[Any]:
    return [
        getattr(row, field) == bindparam(f"of_{field}")
        for field, bound in zip(Scope._fields, bounds, strict=True)
        if bound
    ]


def _satisfied(label: type[LabelRow], requirement: Requirement) -> list[Any]:
    has_key = label.key == requirement.key
    if not requirement.values:
        return [has_key]
    return [has_key, label.value.in_(sorted(requirement.values))]
