"""What was sent to a node and not yet acknowledged: how much at once, when again, when no more.

KubeEdge's edges get one Message at a time; ours frames of many, and a window of them. A frame
that is not acknowledged is sent again some times, then it is lost: whoever sends asks for the
newest states of its objects and sends those, as new Messages. An older state never follows a
newer one: what a newer Message has made void is not sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edgemesh.model.objects import ObjectKey


class Outgoing(NamedTuple):
    """A frame that has to be acknowledged.

    Args:
        msg_id: of its last Message, whose acknowledgement is that of all.
        text: the frame.
        keys: the objects that its Messages are about.
    """

    msg_id: str
    text: str
    keys: Sequence[ObjectKey]


class Due(NamedTuple):
    """What is to be done now.

    Args:
        again: frames to be sent again.
        lost: those that were sent often enough, or of which a part is void; they are forgotten,
            and a late acknowledgement of one means nothing.
    """

    again: list[Outgoing]
    lost: list[Outgoing]


class Outbox:
    """Keeps what was sent until it is acknowledged.

    Args:
        size: Messages that may be under way when another frame is begun, 1 for sending one after
            the other.
        resend_seconds: after which a frame is sent again.
        resends: how often.
    """

    def __init__(self, size: int, resend_seconds: float, resends: int) -> None:
        self._size = size
        self._resend_seconds = resend_seconds
        self._resends = resends
        self._sent: dict[str, _Sent] = {}
        self._newest: dict[ObjectKey, _Sent] = {}
        self._messages = 0

    def __len__(self) -> int:
        """How many Messages are under way."""
        return self._messages

    @property
    def has_room(self) -> bool:
        """Whether another frame may be sent."""
        return self._messages < self._size

    def add(self, outgoing: Outgoing, now: float) -> None:
        """Take note of a frame that is being sent; what is older of its objects is void.

        Only where there is room.
        """
        sent = _Sent(outgoing, now + self._resend_seconds, self._resends)
        for key in outgoing.keys:
            older = self._newest.get(key)
            if older is not None:
                self._void(older)
            self._newest[key] = sent
        self._sent[outgoing.msg_id] = sent
        self._messages += sent.messages

    def acknowledge(self, msg_id: str) -> bool:
        """Forget a frame that has arrived; False when it is not known, or not any more."""
        sent = self._sent.get(msg_id)
        if sent is not None:
            self._forget(sent)
        return sent is not None

    def next_time(self) -> float | None:
        """When to look what is due, None when nothing is under way."""
        return min((sent.due for sent in self._sent.values()), default=None)

    def due(self, now: float) -> Due:
        """What has waited for long enough."""
        due = Due([], [])
        ripe = [sent for sent in self._sent.values() if sent.due <= now]
        for sent in sorted(ripe, key=lambda sent: sent.due):
            if not sent.resends or sent.void:
                self._forget(sent)
                due.lost.append(sent.outgoing)
                continue
            sent.resends -= 1
            sent.due = now + self._resend_seconds
            due.again.append(sent.outgoing)
        return due

    def _void(self, sent: _Sent) -> None:
        """Take note that a newer Message of an object is under way."""
        sent.void += 1
        if sent.void == len(sent.outgoing.keys):
            self._forget(sent)

    def _forget(self, sent: _Sent) -> None:
        del self._sent[sent.outgoing.msg_id]
        self._messages -= sent.messages
        for key in sent.outgoing.keys:
            if self._newest.get(key) is sent:
                del self._newest[key]


class _Sent:
    """A frame under way.

    Attributes:
        void: of how many of its objects newer Messages are under way.
    """

    def __init__(self, outgoing: Outgoing, due: float, resends: int) -> None:
        self.outgoing = outgoing
        self.due = due
        self.resends = resends
        self.void = 0

    @property
    def messages(self) -> int:
        # One of a frame may be about no object.
        return max(len(self.outgoing.keys), 1)
