"""What has come on one connection already: duplicates, and states older than one that came.

A sender that has not heard of an acknowledgement sends again; one that was heard late may come
once more after it (captures, point 13). All of them are acknowledged, none is done twice.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from enum import Enum

from edgemesh.wire.message import Message, Operation

# A 64-bit number; whatever else somebody sends has no order.
_REVISION = re.compile(r"[0-9]{1,20}")
_STATES = frozenset({Operation.INSERT, Operation.UPDATE, Operation.DELETE})


class Arrival(Enum):
    """What to do with a Message."""

    NEW = "new"
    DUPLICATE = "duplicate"  # acknowledge it again, nothing else
    STALE = "stale"  # a newer state of the object has come: likewise


class Arrivals:
    """Remembers what has come, as much as the sender can have under way.

    What it calls new is to be kept: when that fails for good, the connection has to end, and
    this with it, or the sender's next try would be taken for a duplicate.

    Args:
        limit: Messages, and objects, that are remembered; the oldest go first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._revisions: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """How much is remembered."""
        return len(self._seen) + len(self._revisions)

    def take(self, message: Message) -> Arrival:
        """Look at a Message that has just come, and remember it."""
        msg_id = message.header.msg_id
        if msg_id in self._seen:
            return Arrival.DUPLICATE
        self._seen[msg_id] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return self._order(message)

    def _order(self, message: Message) -> Arrival:
        revision = message.header.resourceversion
        # A deletion that CloudCore found out about late has none (captures, point 18).
        if message.route.operation not in _STATES or not _REVISION.fullmatch(revision):
            return Arrival.NEW
        resource = message.route.resource
        known = self._revisions.get(resource, -1)
        if int(revision) < known:
            return Arrival.STALE
        self._revisions[resource] = int(revision)
        self._revisions.move_to_end(resource)
        if len(self._revisions) > self._limit:
            self._revisions.popitem(last=False)
        return Arrival.NEW
