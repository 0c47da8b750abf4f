"""Conditions in the status of policy objects, as clients see them.

They are never stored: what is stored is what was applied, and how it stands depends on other
objects. So the answer to a query is given them, from the snapshot that the data plane goes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from edgemesh.model.conditions import Condition
from edgemesh.model.kinds import find_kind
from edgemesh.model.objects import KubeObject, ObjectKey


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


def is_judged(one: KubeObject) -> bool:
    """Whether an object has conditions."""
    kind = find_kind(one.key.kind)
    return kind is not None and kind.judged
