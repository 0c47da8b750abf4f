"""What one node is sent: a position in the changes, and what of them it wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.changes import Changes, DownChange
from edgemesh.bus.pki.revocations import REVOCATIONS
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.outbox import Outgoing
from edgemesh.wire.kubeedge.answers import push
from edgemesh.wire.message import Operation, ResourcePath, encode_message

SYNC = ResourcePath("all", "sync")

# What the data plane of an edgemesh node goes by.
MESH_KINDS = frozenset(
    {
        "DestinationRule",
        "EndpointSlice",
        "Endpoints",
        "GRPCRoute",
        "HTTPRoute",
        "Namespace",
        "Node",
        "Pod",
        "ReferenceGrant",
        "Rule",
        "RuleEndpoint",
        "Service",
        "TCPRoute",
        "TLSRoute",
        "TrafficPolicy",
        "VirtualService",
    }
)


class DownFeed:
    """Everything from a position on, then what changes.

    Args:
        changes: of the store.
        wanted: of which changes the node hears.
        end: ends the session; the node comes back and begins anew.
        since: the revision that the node has come to; 0 for all that there is.
        marks: whether the node is told when it has everything.

    Attributes:
        full: whether the node is sent all that there is.
        revision: that the node has come to when it has all that was sent.
    """

    def __init__(
        self,
        changes: Changes,
        wanted: Callable[[DownChange], bool],
        end: Callable[[CloseCode, str], None],
        *,
        since: int,
        marks: bool,
    ) -> None:
        self._changes = changes
        self._wanted = wanted
        self._end = end
        self._marks = marks
        self.full = since == 0
        self.revision = since
        # Of deletions, those from here on concern the node.
        self.listed_to = changes.head if self.full else since
        self._marked = False
        self._again: dict[ObjectKey, None] = {}
        self._ahead: deque[Outgoing] = deque()

    @property
    def waiting(self) -> int:
        """How many changes the node has not yet been sent, about."""
        counted = self._changes.count_after(self.revision)
        return counted + len(self._again) + len(self._ahead)

    def add(self, outgoing: Outgoing) -> None:
        """Send a Message ahead of all others."""
        self._ahead.append(outgoing)

    def ask_again(self, key: ObjectKey) -> None:
        """Send the newest state of an object; it comes before everything else."""
        self._again[key] = None

    def next(self) -> Outgoing | None:
        """The next Message, None when there is none at present."""
        if self._ahead:
            return self._ahead.popleft()
        changes = self._changes
        if not changes.listed:
            return None
        if max(self.revision, self.listed_to) < changes.floor:
            self._end(CloseCode.ANEW, "deletions that this node has not seen are forgotten")
            return None
        change = self._next_again() or changes.next_after(self.revision, self._is_news)
        if change is not None:
            self.revision = max(self.revision, change.revision)
            self._marked = False
            return Outgoing(change.msg_id, change.text, change.key)
        self.revision = max(self.revision, changes.head)
        if self._marks and not self._marked:
            self._marked = True
            return _mark(self.revision)
        return None

    def _next_again(self) -> DownChange | None:
        while self._again:
            key = next(iter(self._again))
            del self._again[key]
            change = self._changes.get(key)
            # What lies ahead will come in its turn.
            if change is not None and change.revision <= self.revision:
                return change
        return None

    def _is_news(self, change: DownChange) -> bool:
        return self._wanted(change) and not (change.deleted and change.revision <= self.listed_to)


def for_mesh_node(
    changes: Changes, store: str, revision: int, end: Callable[[CloseCode, str], None]
) -> DownFeed:
    """The feed of an edgemesh node.

    Args:
        changes: of the store.
        store: that the node has followed so far, "" when it is new.
        revision: that it has come to.
        end: ends its session.
    """
    known = store == changes.store_uid and changes.floor <= revision <= changes.head
    return DownFeed(changes, _is_of_mesh, end, since=revision if known else 0, marks=True)


def _is_of_mesh(change: DownChange) -> bool:
    return change.key.kind in MESH_KINDS or change.key == REVOCATIONS


def _mark(revision: int) -> Outgoing:
    content = {"revision": revision, "synced": True}
    message = push(new_stamp(), Operation.UPDATE, SYNC, content)
    return Outgoing(message.header.msg_id, encode_message(message).decode(), None)
