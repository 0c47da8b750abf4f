"""What was received and is not on disk yet: a queue that bounds what is read."""

from __future__ import annotations

from typing import NamedTuple

import trio

from edgemesh.wire.message import Message


class Received(NamedTuple):
    """A Message that came.

    Args:
        message: see there.
        is_new: whether it is to be stored; else it is acknowledged only.
    """

    message: Message
    is_new: bool


class Inbox:
    """One task puts in, another takes out all at once.

    Args:
        most_messages, most_bytes: that are in it; who puts in more waits.
    """

    def __init__(self, most_messages: int, most_bytes: int) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._messages: list[Received] = []
        self._bytes = 0
        self._changed = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """How many Messages are in it."""
        return len(self._messages)

    async def put(self, received: Received, size: int) -> None:
        """Put one in, once there is room; one alone may be larger than all.

        Args:
            received: see there.
            size: of its text in bytes.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while self._messages and (
            len(self._messages) >= self._most_messages or self._bytes + size > self._most_bytes
        ):
            await self._changed.park()
        self._messages.append(received)
        self._bytes += size
        self._changed.unpark_all()

    async def take(self) -> list[Received]:
        """Everything that is in it, once there is anything; in its order."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._messages:
            await self._changed.park()
        taken, self._messages, self._bytes = self._messages, [], 0
        self._changed.unpark_all()
        return taken
