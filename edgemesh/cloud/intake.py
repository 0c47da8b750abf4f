"""What a server tells of one resource, sorted out and handed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from edgemesh.cloud.sink import Sink
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Change, Resource
from edgemesh.policy.reflector.course import Ending, Outcome, Server, Step, Way
from edgemesh.policy.reflector.known import Known
from edgemesh.policy.reflector.refusals import ending_of
from edgemesh.policy.selection import chooses
from edgemesh.wire.kubernetes_api.events import (
    EventType,
    WatchEvent,
    read_bookmark,
    read_error,
    read_event,
)
from edgemesh.wire.kubernetes_api.objects import ApiContentError, read_object


class Intake:
    """Takes lists and events of one resource.

    Args:
        resource: which.
        sink: keeps what there is.
        settings: how much is handed on at once.
        listed: called whenever a list is complete, and in the sink.

    Attributes:
        known: the objects that there are.
        changes: that were handed on so far.
        events: of watches that were taken so far, bookmarks among them.
    """

    def __init__(
        self,
        resource: Resource,
        sink: Sink,
        settings: KubernetesSettings,
        listed: Callable[[str], None],
    ) -> None:
        self._resource = resource
        self._sink = sink
        self._batch_objects = settings.batch_objects
        self._listed = listed
        self.known = Known(lambda body: chooses(resource, body))
        self.changes = self.events = 0

    def begin_list(self) -> None:
        """Expect everything to be shown."""
        self.known.begin_list()

    async def show(self, items: Sequence[msgspec.Raw]) -> None:
        """Take a page of a list.

        Raises:
            ApiContentError: an item is no object; those before it were taken.
        """
        for start in range(0, len(items), self._batch_objects):
            # Only so many objects are decoded at a time, for they take ten times their text.
            bodies = map(self._read_object, items[start : start + self._batch_objects])
            await self._hand_on([change for body in bodies if (change := self.known.show(body))])

    async def finish_list(self, revision: str) -> None:
        """Take note that everything was shown."""
        names = self.known.finish_list(revision)
        if names is not None:
            await self._sink.keep_only(self._resource, names)
        self._listed(revision)

    async def take(
        self, step: Step, lines: Sequence[bytes], server: Server
    ) -> tuple[Step, Outcome | None]:
        """Take lines of a watch, in order.

        Args:
            step: that they answer.
            lines: each an event.
            server: whose they are.

        Returns:
            the step, with the revision that it has come to, and what has become of it if one of
            the lines ends it.
        """
        changes: list[Change] = []
        outcome = None
        for line in lines:
            try:
                event = read_event(line)
                if event.type is EventType.ERROR:
                    outcome = _failed(step, event)
                    break
                if event.type is EventType.BOOKMARK:
                    step, changes = await self._mark(step, event, changes)
                else:
                    step = self._happen(step, event, changes, server)
            except ApiContentError as error:
                outcome = Outcome(Ending.FAILED, problem=str(error))
                break
            self.events += 1
        await self._hand_on(changes)
        return step, outcome

    async def _mark(
        self, step: Step, event: WatchEvent, changes: list[Change]
    ) -> tuple[Step, list[Change]]:
        """Take a bookmark; return what has not been handed on after it."""
        bookmark = read_bookmark(event)
        if step.way is Way.WATCH:
            return step.come_to(bookmark.revision), changes
        if not bookmark.ends_list:
            return step, changes
        await self._hand_on(changes)
        await self.finish_list(bookmark.revision)
        return step.come_to(bookmark.revision), []

    def _happen(self, step: Step, event: WatchEvent, changes: list[Change], server: Server) -> Step:
        body = self._read_object(event.object)
        deleted, in_order = event.type is EventType.DELETED, server is Server.API_SERVER
        change = self.known.happen(body, deleted=deleted, in_order=in_order)
        if change is not None:
            changes.append(change)
        revision = body["metadata"].get("resourceVersion")
        # Objects of a streamed list come by name; only its mark tells how far it has come. And
        # what MetaServer tells out of order is nothing to go on from.
        return step.come_to(revision) if revision and in_order and step.way is Way.WATCH else step

    async def _hand_on(self, changes: Sequence[Change]) -> None:
        if changes:
            await self._sink.change(self._resource, changes)
            self.changes += len(changes)

    def _read_object(self, raw: msgspec.Raw) -> dict[str, Any]:
        return read_object(raw, self._resource.api_version, self._resource.kind)


def _failed(step: Step, event: WatchEvent) -> Outcome:
    failure = read_error(event)
    return Outcome(ending_of(step.way, failure.code), problem=str(failure))
