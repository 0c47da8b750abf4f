"""The objects whose status we write, as the API server tells of them, on their way to the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from edgemesh.cloud.controller import ControllerSink
from edgemesh.model.kinds import find_kind
from edgemesh.model.objects import ObjectKey
from edgemesh.model.reflection import Change, Name, Resource
from edgemesh.policy.objects.written_status import Observed, observe

Refused = Callable[[Observed, str], None]


class Subjects:
    """Hands everything on to the store, and remembers what it is about.

    Args:
        sink: where everything goes.
        problems: objects that the store has refused, and why.
        refused: hears of each of them that was just refused.

    Attributes:
        objects: of the kinds whose status we write.
    """

    def __init__(
        self,
        sink: ControllerSink,
        problems: Callable[[], Mapping[ObjectKey, str]],
        refused: Refused,
    ) -> None:
        self._sink = sink
        self._problems = problems
        self._refused = refused
        self._users: list[Callable[[], None]] = []
        self.objects: dict[ObjectKey, Observed] = {}

    def on_change(self, use: Callable[[], None]) -> None:
        """Call ``use`` whenever ``objects`` are others."""
        self._users.append(use)

    async def change(self, resource: Resource, changes: Sequence[Change]) -> None:
        """See `Sink.change`."""
        await self._sink.change(resource, changes)
        written = _has_status(resource.kind)
        problems = self._problems()
        for change in changes:
            key = _key(resource.kind, change)
            if not change.deleted and key in problems:
                self._refused(observe(key, change.body), problems[key])
            if written and change.deleted:
                self.objects.pop(key, None)
            elif written:
                self.objects[key] = observe(key, change.body)
        if written:
            self._tell()

    async def keep_only(self, resource: Resource, names: Collection[Name]) -> None:
        """See `Sink.keep_only`."""
        await self._sink.keep_only(resource, names)
        named = {ObjectKey(resource.kind, *name) for name in names}
        gone = {key for key in self.objects if key.kind == resource.kind} - named
        for key in gone:
            del self.objects[key]
        if gone:
            self._tell()

    async def missing(self, resource: Resource) -> None:
        """See `Sink.missing`: what does not exist has no status either."""
        await self._sink.missing(resource)
        self.objects = {
            key: each for key, each in self.objects.items() if key.kind != resource.kind
        }

    async def narrow(self, resource: Resource) -> None:
        """See `ControllerSink.narrow`; whose status is written is not chosen by selectors."""
        await self._sink.narrow(resource)

    def _tell(self) -> None:
        for use in self._users:
            use()


def _has_status(kind: str) -> bool:
    found = find_kind(kind)
    return found is not None and (found.judged or kind == "Rule")


def _key(kind: str, change: Change) -> ObjectKey:
    metadata = change.body["metadata"]
    return ObjectKey(kind, metadata.get("namespace") or "", metadata["name"])
