"""What edgemesh nodes say besides acknowledgements: where they stand, how they are reached."""

from __future__ import annotations

import msgspec

from edgemesh.bus.cloudhub.changes import Changes
from edgemesh.bus.cloudhub.down_feed import DownFeed, MeshCourse
from edgemesh.bus.cloudhub.link_notes import LinkNotes
from edgemesh.bus.cloudhub.mesh_frames import SYNC, MeshFrames
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.streams import LINK_ANNOTATION, VERSION_ANNOTATION
from edgemesh.wire.host_port import joined, parse_host_port
from edgemesh.wire.kubeedge.answers import answer
from edgemesh.wire.message import Message

_MOST_ADDRESSES = 16
_LONGEST_VERSION = 64
# For what this replica is about to hear of; then the node gets everything.
_PATIENCE_SECONDS = 5.0


class _Position(msgspec.Struct, frozen=True):
    store: str = ""
    revision: int = 0


class _NodeLink(msgspec.Struct, frozen=True):
    addresses: tuple[str, ...] = ()
    version: str = ""


class MeshNodes:
    """Answers edgemesh nodes.

    Args:
        changes: what nodes are sent.
        frames: of them.
        notes: writes how nodes are reached.
        refusals: where what is refused is counted.
    """

    def __init__(
        self, changes: Changes, frames: MeshFrames, notes: LinkNotes, refusals: Refusals
    ) -> None:
        self._changes = changes
        self._frames = frames
        self._notes = notes
        self._refusals = refusals

    async def begin_sync(self, session: Session, message: Message) -> None:
        """The node says which revision it has come to: send what has happened since."""
        try:
            position = msgspec.json.decode(message.content, type=_Position)
        except msgspec.DecodeError as error:
            self._refusals.count(Reason.INVALID, session.node, f"{SYNC}: {error}")
            return
        if position.store == self._changes.store_uid:
            await self._changes.reached(position.revision, _PATIENCE_SECONDS)
        course = MeshCourse(self._changes, self._frames, position.store, position.revision)
        beginning = {
            "store": self._changes.store_uid,
            "full": course.full,
            "revision": course.since,
        }
        await session.tell(answer(message, new_stamp(), beginning))
        session.feed = DownFeed(self._changes, course, session.end)
        session.wake()

    async def note_link(self, session: Session, message: Message) -> None:
        """The node says how others reach it: note it on its Node, for all others to hear."""
        try:
            link = msgspec.json.decode(message.content, type=_NodeLink)
        except msgspec.DecodeError as error:
            self._refusals.count(Reason.INVALID, session.node, f"{message.route.resource}: {error}")
            return
        try:
            # It goes to every node of the mesh, so it had better be what it says.
            addresses = [joined(*parse_host_port(text)) for text in link.addresses]
        except ValueError as error:
            self._refusals.count(Reason.INVALID, session.node, f"addresses of links: {error}")
            return
        annotations = {
            LINK_ANNOTATION: ",".join(addresses[:_MOST_ADDRESSES]),
            VERSION_ANNOTATION: link.version[:_LONGEST_VERSION],
        }
        await self._notes.note(session.node, annotations)
