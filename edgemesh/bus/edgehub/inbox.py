"""What was received and is not on disk yet: a queue that bounds what is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import trio

from edgemesh.wire.message import Message


class Received(NamedTuple):
    """What one frame has brought to be stored or acknowledged.

    Args:
        fresh: Messages that are to be stored.
        last: of all of them; its acknowledgement is that of the frame.
    """

    fresh: Sequence[Message]
    last: Message


class Inbox:
    """One task puts in, another takes out all at once.

    Args:
        most_messages, most_bytes: that are in it; who puts in more waits.
    """

    def __init__(self, most_messages: int, most_bytes: int) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._received: list[Received] = []
        self._messages = 0
        self._bytes = 0
        self._changed = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many Messages are in it."""
        return self._messages

    async def put(self, received: Received, messages: int, size: int) -> None:
        """Put a frame in, once there is room; one alone may be larger than all.

        Args:
            received: see there.
            messages: in it.
            size: of its text in bytes.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._received and (
            self._messages + messages > self._most_messages or self._bytes + size > self._most_bytes
        ):
            await self._changed.park()
        self._received.append(received)
        self._messages += messages
        self._bytes += size
        self._changed.unpark_all()

    async def take(self) -> list[Received]:
        """Everything that is in it, once there is anything; in its order."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._received:
            await self._changed.park()
        taken, self._received = self._received, []
        self._messages = self._bytes = 0
        self._changed.unpark_all()
        return taken
