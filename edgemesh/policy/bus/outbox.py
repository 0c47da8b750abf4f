"""What was sent to a node and not yet acknowledged: how much at once, when again, when no more.

KubeEdge's edges get one Message at a time; ours a window of them. One that is not acknowledged
is sent again some times, then it is lost: whoever sends asks for the newest state of its object
and sends that, as a new Message. Of one object only the newest Message is kept, so that none is
sent again after a newer one: an older state never follows a newer one.
"""

from __future__ import annotations

from typing import NamedTuple

from edgemesh.model.objects import ObjectKey


class Outgoing(NamedTuple):
    """A Message that has to be acknowledged.

    Args:
        msg_id: of it.
        text: the Message.
        key: the object that it is about, None when it is about none.
    """

    msg_id: str
    text: str
    key: ObjectKey | None


class Due(NamedTuple):
    """What is to be done now.

    Args:
        again: Messages to be sent again.
        lost: those that were sent often enough; they are forgotten, and a late acknowledgement
            of one means nothing.
    """

    again: list[Outgoing]
    lost: list[Outgoing]


class Outbox:
    """Keeps what was sent until it is acknowledged; holds at most ``size``.

    Args:
        size: Messages under way at a time, 1 for sending one after the other.
        resend_seconds: after which one is sent again.
        resends: how often.
    """

    def __init__(self, size: int, resend_seconds: float, resends: int) -> None:
        self._size = size
        self._resend_seconds = resend_seconds
        self._resends = resends
        # In the order in which they are due: each waits as long as the others.
        self._sent: dict[str, _Sent] = {}
        self._newest: dict[ObjectKey, str] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._sent)

    @property
    def has_room(self) -> bool:
        """Whether another one may be sent."""
        return len(self._sent) < self._size

    def add(self, outgoing: Outgoing, now: float) -> None:
        """Take note of one that is being sent; an older one of its object is forgotten.

        Only where there is room.
        """
        if outgoing.key is not None:
            older = self._newest.get(outgoing.key)
            if older is not None:
                del self._sent[older]
            self._newest[outgoing.key] = outgoing.msg_id
        due = now + self._resend_seconds
        self._sent[outgoing.msg_id] = _Sent(outgoing, due, self._resends)

    def acknowledge(self, msg_id: str) -> bool:
        """Forget one that has arrived; False when it is not known, or not any more."""
        return self._forget(msg_id) is not None

    def next_time(self) -> float | None:
        """When to look what is due, None when nothing is under way."""
        return next((sent.due for sent in self._sent.values()), None)

    def due(self, now: float) -> Due:
        """What has waited for long enough."""
        due = Due([], [])
        while (sent := next(iter(self._sent.values()), None)) and sent.due <= now:
            outgoing = sent.outgoing
            if not sent.resends:
                self._forget(outgoing.msg_id)
                due.lost.append(outgoing)
                continue
            # To the end, for it is due after all others now.
            del self._sent[outgoing.msg_id]
            again_at = now + self._resend_seconds
            self._sent[outgoing.msg_id] = _Sent(outgoing, again_at, sent.resends - 1)
            due.again.append(outgoing)
        return due

    def _forget(self, msg_id: str) -> _Sent | None:
        sent = self._sent.pop(msg_id, None)
        if sent is not None and sent.outgoing.key is not None:
            del self._newest[sent.outgoing.key]
        return sent


class _Sent(NamedTuple):
    outgoing: Outgoing
    due: float
    resends: int
