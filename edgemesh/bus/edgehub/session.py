"""One connection to the cloud, from its upgrade to its end.

Theory of operation: one task reads, one writes, one stores. What is to be stored passes the
inbox, in its order, and is acknowledged when it is on disk: while the disk is slow the inbox is
full, nothing is read, and the cloud feels it. Everything that is sent passes the outbox, so that
no sender can be cancelled in the midst of a frame.

A cloud of ours is told how far its store was followed and sends what comes after, up to a mark;
CloudCore sends the objects of this node by itself, and says nothing at all to whom it refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from edgemesh import __version__
from edgemesh.bus.edgehub.cluster_lists import ClusterLists
from edgemesh.bus.edgehub.inbox import Inbox, Received
from edgemesh.bus.edgehub.messages import ask_for_sync, query_own_node, tell_link
from edgemesh.bus.edgehub.problems import CloudAwayError, CloudProblemError, NoAnswerError
from edgemesh.bus.edgehub.questions import Questions
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.arrivals import Arrival, Arrivals
from edgemesh.policy.bus.reconnect import Reconnect
from edgemesh.store.errors import StoreError
from edgemesh.wire.kubeedge.answers import read_answer
from edgemesh.wire.kubeedge.session import (
    acknowledge,
    is_acknowledged_by_edge,
    keepalive,
    needs_acknowledgement,
)
from edgemesh.wire.message import (
    Group,
    Message,
    MessageError,
    Operation,
    decode_frames,
    encode_message,
    join_frames,
)

_PUSHES = frozenset({Operation.INSERT, Operation.UPDATE, Operation.DELETE})

_log = get_logger("edgehub")


class Frames(Protocol):
    """What carries Messages; see `WebSocket`."""

    async def send(self, text: str) -> None: ...
    async def receive(self) -> bytes: ...
    async def ping(self) -> None: ...


class SyncWriter(Protocol):
    """Puts what the cloud sends on disk."""

    async def write(self, messages: Sequence[Message]) -> None:
        """All or nothing.

        Raises:
            StoreError: nothing was written; it may be tried again.
        """


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a session leaves to others.

    Args:
        user: is given Messages of group ``user``, each once; must return at once.
        addresses: of this node's links, now.
        chance: a number from 0 to 1, by lot.
    """

    user: Callable[[Message], None]
    addresses: Callable[[], Awaitable[tuple[str, ...]]]
    chance: Callable[[], float]


class Session:
    """Talks over one connection.

    Args:
        frames: upgraded.
        settings: times and limits.
        node: this one.
        edgemesh: whether the cloud is of our kind.
        position: how far its store was followed.
        writer: stores what comes.
        hooks: see there.
        counts: of Messages; added to.

    Attributes:
        accepted: set when the cloud has shown that it takes this node.
        notices: what an operator should know, by what it is about.
    """

    def __init__(
        self,
        frames: Frames,
        settings: BusSettings,
        node: str,
        *,
        edgemesh: bool,
        position: SyncPosition,
        writer: SyncWriter,
        hooks: Hooks,
        counts: Counter[str],
    ) -> None:
        self._frames = frames
        self._settings = settings
        self._node = node
        self._edgemesh = edgemesh
        self._writer = writer
        self._hooks = hooks
        self._counts = counts
        self._inbox = Inbox(settings.inbox_messages, settings.inbox_bytes)
        self._outbox, self._to_send = trio.open_memory_channel[Message](settings.outbox_messages)
        self._questions = Questions()
        self._arrivals = Arrivals(settings.inbox_messages)
        self._opening = ask_for_sync(new_stamp(), position)
        self._lists: ClusterLists | None = None
        self._scope = trio.CancelScope()
        self._problem = ""
        self.accepted = trio.Event()
        self.notices: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """Messages that were received and are not on disk yet."""
        return len(self._inbox)

    async def run(self) -> str:
        """Talk until the connection is lost.

        Returns:
            Why it is.
        """
        self._outbox.send_nowait(keepalive(new_stamp()))
        parts = (self._send, self._receive, self._keep_alive, self._listen_for_life, self._store)
        introduce = self._join if self._edgemesh else self._join_kubeedge
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for part in (*parts, introduce):
                        nursery.start_soon(self._until_lost, part)
        finally:
            self._questions.end(self._problem or "the node is stopping")
            self._outbox.close()
            self._to_send.close()
        return self._problem

    async def ask(self, message: Message, seconds: float) -> Message:
        """Send a question and wait for its answer.

        Raises:
            NoAnswerError: none came in time.
            CloudAwayError: the connection has ended.
        """
        with self._questions.asked(message.header.msg_id) as question:
            with trio.move_on_after(seconds):
                await self.send(message)
            return await question.wait(seconds)

    async def send(self, message: Message) -> None:
        """Send a Message, once its turn has come; whether it arrives is not known.

        Raises:
            CloudAwayError: the connection has ended.
        """
        try:
            await self._outbox.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise CloudAwayError(self._problem) from None

    async def _until_lost(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except CloudProblemError as problem:
            self._end(str(problem))

    def _end(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._scope.cancel()

    async def _send(self) -> None:
        async for message in self._to_send:
            messages = [message, *self._more_to_send()]
            texts = [encode_message(each).decode() for each in messages]
            await self._frames.send(join_frames(texts))
            self._counts["sent"] += len(messages)

    def _more_to_send(self) -> Iterator[Message]:
        """What waits as well, for a cloud that takes several Messages in a frame."""
        with suppress(trio.WouldBlock):
            for _ in range(self._settings.outbox_messages if self._edgemesh else 0):
                yield self._to_send.receive_nowait()

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self._settings.keepalive_seconds)
            await self.send(keepalive(new_stamp()))

    async def _listen_for_life(self) -> None:
        """Make the cloud say something, for CloudCore answers no keepalive."""
        while True:
            await trio.sleep(self._settings.keepalive_seconds)
            await self._frames.ping()

    async def _receive(self) -> None:
        while True:
            frame = await self._frames.receive()
            self._counts["received"] += 1
            try:
                messages = decode_frames(frame, self._settings.max_message_bytes)
            except MessageError as problem:
                self._counts["malformed"] += 1
                self._tell("malformed", f"the cloud sent what is no Message: {problem}")
                continue
            await self._take_frame(messages, len(frame))

    async def _take_frame(self, messages: Sequence[Message], size: int) -> None:
        """What is to be stored of a frame is stored, and acknowledged, as one."""
        kept = [message for message in messages if await self._take(message)]
        if kept:
            fresh = [message for message in kept if self._is_new(message)]
            await self._inbox.put(Received(fresh, kept[-1]), len(kept), size)

    async def _take(self, message: Message) -> bool:
        """Do what a Message asks; whether it is to be kept, and acknowledged then."""
        route = message.route
        if route.group == Group.USER:
            self._hand_on(message)
        elif message.header.parent_msg_id == self._opening.header.msg_id:
            self._begin(message)
            return True
        elif route.group == Group.RESOURCE and route.operation in _PUSHES:
            if route.resource == f"null/node/{self._node}":
                self.accepted.set()
            if self._lists is not None:
                self._lists.note_push(message)
            return True
        else:
            if self._questions.answer(message):
                self.accepted.set()
            else:
                self._counts["ignored"] += 1
            await self._acknowledge(message)
        return False

    def _hand_on(self, message: Message) -> None:
        if self._is_new(message) and not self._questions.answer(message):
            self._hooks.user(message)

    def _is_new(self, message: Message) -> bool:
        is_new = self._arrivals.take(message) is Arrival.NEW
        self._counts["repeated"] += not is_new
        return is_new

    def _begin(self, message: Message) -> None:
        if message.route.operation != Operation.RESPONSE:
            text = bytes(message.content).decode()
            raise CloudProblemError(f"the cloud refuses to send its objects: {text:.300}")
        self.accepted.set()

    async def _store(self) -> None:
        while True:
            frames = await self._inbox.take()
            fresh = [message for received in frames for message in received.fresh]
            if fresh:
                await self._write(fresh)
            for received in frames:
                await self._acknowledge(received.last)

    async def _write(self, batch: Sequence[Message]) -> None:
        settings = self._settings
        pauses = Reconnect(settings.first_retry_seconds, settings.max_retry_seconds)
        while True:
            try:
                await self._writer.write(batch)
            except StoreError as error:
                self._tell("store", str(error))
                await trio.sleep(pauses.pause(0, self._hooks.chance()))
            else:
                self.notices.pop("store", None)
                self._counts["stored"] += len(batch)
                return

    async def _acknowledge(self, message: Message) -> None:
        asked_for = needs_acknowledgement if self._edgemesh else is_acknowledged_by_edge
        if asked_for(message):
            await self.send(acknowledge(message, new_stamp()))

    async def _join(self) -> None:
        await self.send(self._opening)
        with trio.move_on_after(self._settings.answer_seconds):
            await self.accepted.wait()
        if not self.accepted.is_set():
            raise CloudProblemError(
                f"the cloud does not say within {self._settings.answer_seconds:g} s what it has"
            )
        told: tuple[str, ...] | None = None
        while True:
            addresses = await self._hooks.addresses()
            if addresses != told:
                await self.send(tell_link(new_stamp(), self._node, addresses, __version__))
                told = addresses
            await trio.sleep(self._settings.keepalive_seconds)

    async def _join_kubeedge(self) -> None:
        try:
            await self._knock()
            self._lists = ClusterLists(
                self._node, self.ask, self._write, partial(self._tell, "lists"), self._settings
            )
            await self._lists.follow()
        except CloudAwayError:
            return

    async def _knock(self) -> None:
        seconds = self._settings.accept_seconds
        try:
            answer = await self.ask(query_own_node(new_stamp(), self._node), seconds)
        except NoAnswerError:
            if not self.accepted.is_set():
                raise CloudProblemError(
                    f"CloudCore took the connection and says nothing for {seconds:g} s: it has "
                    f"not accepted node {self._node} (its authorisation refuses in silence)"
                ) from None
            return
        if _is_missing(answer):
            self._tell("node", f"the cluster has no Node {self._node}: nothing is pushed to it")

    def _tell(self, subject: str, notice: str) -> None:
        if not notice:
            self.notices.pop(subject, None)
            return
        if self.notices.get(subject) != notice:
            _log.warning("cloud", about=subject, problem=notice)
        self.notices[subject] = notice


def _is_missing(answer: Message) -> bool:
    try:
        return read_answer(answer).not_found
    except MessageError:
        return False
