"""A cloud in memory, which a session of a node talks to frame by frame."""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
import trio.testing

from edgemesh.bus.edgehub.connector import Connected
from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.edgehub.problems import CloudProblemError
from edgemesh.bus.edgehub.session import Hooks, Session
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.store.errors import StoreError
from edgemesh.wire.message import (
    Header,
    Message,
    Route,
    decode_message,
    encode_content,
    encode_message,
)

NODE = "edge-1"


class Cloud:
    """The other end of one connection.

    Attributes:
        frames: what the session is given.
        lost: set to a reason, it breaks the connection.
    """

    def __init__(self) -> None:
        self._down, self._from_cloud = trio.open_memory_channel[bytes](0)
        self._to_cloud, self._up = trio.open_memory_channel[str](1000)
        # Of a frame that had several, those that no test has asked for yet.
        self._read: list[str] = []
        self._deadline = math.inf
        self._listening = trio.CancelScope()
        self.pings = 0
        self.answers_pings = True

    # What the session sees.

    async def send(self, text: str) -> None:
        try:
            await self._to_cloud.send(text)
        except trio.BrokenResourceError:
            raise CloudProblemError("the cloud is gone") from None

    async def receive(self) -> bytes:
        with trio.CancelScope(deadline=self._deadline) as self._listening:
            try:
                return await self._from_cloud.receive()
            except trio.EndOfChannel:
                pass
        raise CloudProblemError("the cloud is gone")

    async def ping(self) -> None:
        self.pings += 1
        if not self.answers_pings:
            await trio.sleep_forever()

    # What a test does.

    async def push(self, *messages: Message) -> None:
        for one in messages:
            await self._down.send(encode_message(one))

    async def push_raw(self, frame: bytes) -> None:
        await self._down.send(frame)

    async def next(self, *, besides: Sequence[str] = ("keepalive",)) -> Message:
        """What the node sent next, but for operations that are not asked about."""
        while True:
            sent = decode_message((await self.next_text()).encode())
            if sent.route.operation not in besides:
                return sent

    async def next_text(self) -> str:
        """The next Message as it was sent, whether alone in its frame or not."""
        if not self._read:
            self._read += _texts(await self._up.receive())
        return self._read.pop(0)

    def sent_so_far(self) -> list[Message]:
        try:
            while True:
                self._read += _texts(self._up.receive_nowait())
        except trio.WouldBlock:
            found, self._read = self._read, []
            return [decode_message(text.encode()) for text in found]

    def hang_up_after(self, seconds: float) -> None:
        self._deadline = self._listening.deadline = trio.current_time() + seconds

    def hang_up(self) -> None:
        self._down.close()
        self._up.close()


def _texts(frame: str) -> list[str]:
    if not frame.startswith("["):
        return [frame]
    return [bytes(part).decode() for part in msgspec.json.decode(frame, type=list[msgspec.Raw])]


@dataclass
class Written:
    """Keeps batches instead of a store.

    Attributes:
        batches: as they were written.
        gate: nothing is written before it is set.
        failures: that the next writes end with.
    """

    position: SyncPosition = field(default_factory=SyncPosition)
    batches: list[list[Message]] = field(default_factory=list)
    gate: trio.Event = field(default_factory=trio.Event)
    failures: list[StoreError] = field(default_factory=list)

    async def begin(self) -> Written:
        await trio.lowlevel.checkpoint()
        return self

    async def write(self, messages: Sequence[Message]) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        self.batches.append(list(messages))

    @property
    def resources(self) -> list[str]:
        return [one.route.resource for batch in self.batches for one in batch]


@dataclass
class Talk:
    """A session that runs, and what is around it."""

    cloud: Cloud
    session: Session
    written: Written
    handed_on: list[Message]
    counts: Counter[str]
    addresses: list[str]
    ended: list[str]


@asynccontextmanager
async def talking(
    settings: BusSettings | None = None, *, edgemesh: bool = True, stores: bool = True
) -> AsyncIterator[Talk]:
    """Run a session against a cloud in memory until the block ends."""
    cloud, written = Cloud(), Written(SyncPosition("s", 7))
    if stores:
        written.gate.set()
    handed_on: list[Message] = []
    addresses = ["192.0.2.1:10006"]
    counts: Counter[str] = Counter()

    async def links() -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(addresses)

    session = Session(
        cloud,
        settings or BusSettings(),
        NODE,
        edgemesh=edgemesh,
        position=written.position,
        writer=written,
        hooks=Hooks(handed_on.append, links, lambda: 0.5),
        counts=counts,
    )
    talk = Talk(cloud, session, written, handed_on, counts, addresses, [])

    async def run() -> None:
        talk.ended.append(await session.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield talk
        nursery.cancel_scope.cancel()


async def settled() -> None:
    """Let everything run that can run."""
    await trio.testing.wait_all_tasks_blocked()


def message(
    operation: str,
    resource: str,
    content: Any = None,
    *,
    group: str = "resource",
    parent: str = "",
    revision: str = "",
) -> Message:
    return Message(
        header=Header(
            msg_id=str(uuid.uuid4()),
            parent_msg_id=parent,
            timestamp=1,
            resourceversion=revision,
        ),
        route=Route(source="edgecontroller", group=group, operation=operation, resource=resource),
        content=encode_content(content),
    )


class Flapping:
    """Makes connections to clouds in memory, and keeps them for the test."""

    def __init__(self) -> None:
        self.attempts: list[float] = []
        self._made, self._clouds = trio.open_memory_channel[Cloud](math.inf)
        self.refusal: Exception | None = None

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connected]:
        self.attempts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        cloud = Cloud()
        self._made.send_nowait(cloud)
        yield Connected(cloud, edgemesh=True, local="192.0.2.1")

    async def accepted(self) -> Cloud:
        """The next connection, once the cloud has told the node that it may go on."""
        cloud = await self._clouds.receive()
        question = await cloud.next()
        begin = {"store": "s", "full": False, "revision": 1}
        await cloud.push(message("response", "all/sync", begin, parent=question.header.msg_id))
        await cloud.next()
        return cloud


def hub_over(flapping: Flapping, written: Written, settings: BusSettings | None = None) -> Edgehub:
    async def links(local: str) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return (f"{local}:10006",)

    return Edgehub(
        settings or BusSettings(),
        NODE,
        flapping.connect,
        written,
        addresses=links,
        chance=lambda: 1.0,
    )
