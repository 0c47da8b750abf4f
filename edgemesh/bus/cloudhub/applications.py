"""MetaServer's requests of KubeEdge's edges, answered out of the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.down_change import DownChange
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.metaserver import answer_application, refuse_application
from edgemesh.wire.kubeedge.application import (
    WATCH_SYNC,
    read_application,
    read_watches,
    respond,
    respond_watches,
)
from edgemesh.wire.message import Message, decode_message


class Applications:
    """Answers Applications.

    Args:
        changes: of the store.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def answer(self, session: Session, message: Message) -> None:
        """Answer what ``authorization.refuse`` has let pass.

        Raises:
            NodeAwayError: the node went before it was answered.
            MessageError: the content is no Application, or asks by a key that is none.
        """
        if message.route.resource == WATCH_SYNC:
            await self._answer_watches(session, message, "watch is not served: get and list are")
            return
        asked = read_application(message)
        await self._changes.caught_up()
        # A list of everything takes a while to write.
        answered = await trio.to_thread.run_sync(
            answer_application, asked, _Readable(self._changes)
        )
        await session.tell(respond(message, new_stamp(), answered))

    async def refuse(self, session: Session, message: Message, problem: str) -> None:
        """Tell an edge that it may not, instead of letting it wait.

        Raises:
            NodeAwayError: the node went before it was answered.
            MessageError: the content is no Application.
        """
        if message.route.resource == WATCH_SYNC:
            await self._answer_watches(session, message, problem)
            return
        refused = refuse_application(read_application(message), problem)
        await session.tell(respond(message, new_stamp(), refused))

    async def _answer_watches(self, session: Session, message: Message, problem: str) -> None:
        watches = read_watches(message)
        failed = {each: refuse_application(one, problem) for each, one in watches.items()}
        await session.tell(respond_watches(message, new_stamp(), failed))


class _Readable:
    """See `edgemesh.policy.bus.metaserver.Objects`; as of when it was made, for any thread."""

    def __init__(self, changes: Changes) -> None:
        self._present = changes.present()
        self.revision = changes.head

    def get(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        change = self._present.get(ObjectKey(kind, namespace, name))
        return None if change is None else _body(change)

    def list(self, kind: str, namespace: str) -> list[Mapping[str, Any]]:
        return [
            _body(change)
            for key, change in self._present.items()
            if key.kind == kind and namespace in {"", key.namespace}
        ]


def _body(change: DownChange) -> Mapping[str, Any]:
    body: Mapping[str, Any] = decode_message(change.text.encode()).value()
    return body
