"""Conditions in the status of policy objects, as clients see them.

They are never stored: what is stored is what was applied, and how it stands depends on other
objects. So they are put into answers to queries and watches, from the snapshot that the data
plane goes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from edgemesh.model.conditions import Condition
from edgemesh.model.kinds import find_kind
from edgemesh.model.objects import Change, ChangeType, KubeObject, ObjectKey
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.watch import Batch, ChangeCursor


class StatusSource(Protocol):
    """Who knows how objects stand."""

    async def reached(self, revision: int) -> None:
        """Wait until what was stored at this revision has become a snapshot, but not for long."""

    def conditions(self, key: ObjectKey) -> tuple[Condition, ...]:
        """The conditions of an object; none when it is not known."""


class ShownObjects:
    """Bodies as clients see them; as they are stored until a source is set."""

    def __init__(self) -> None:
        self.source: StatusSource | None = None

    async def reached(self, revision: int) -> None:
        """See `StatusSource`."""
        if self.source is not None:
            await self.source.reached(revision)

    def body(self, one: KubeObject) -> Mapping[str, Any]:
        """The body of an object with its conditions, if it is of a kind that has them."""
        conditions = self.source.conditions(one.key) if self.source and is_judged(one) else ()
        if not conditions:
            return one.body
        status = dict(one.body.get("status") or {})
        status["conditions"] = [condition.body() for condition in conditions]
        return {**one.body, "status": status}


class ShownCursor(ChangeCursor):
    """A cursor for clients: policy objects come with their conditions.

    They are those of the time at which an object itself changes; another object that changes
    them is no change of this one.
    """

    def __init__(self, store: Store, scope: Scope, page_bytes: int, shown: ShownObjects) -> None:
        super().__init__(store, scope, page_bytes)
        self._shown = shown

    async def next(self) -> Batch:
        """See `ChangeCursor.next`."""
        batch = await super().next()
        if not any(is_judged(change.object) for change in batch.changes):
            return batch
        await self._shown.reached(batch.revision)
        return batch._replace(changes=[self._with_conditions(change) for change in batch.changes])

    def _with_conditions(self, change: Change) -> Change:
        if change.type is ChangeType.DELETE:
            return change
        return replace(change, object=replace(change.object, body=self._shown.body(change.object)))


def is_judged(one: KubeObject) -> bool:
    """Whether an object has conditions."""
    kind = find_kind(one.key.kind)
    return kind is not None and kind.judged
