"""One connected node: what it is sent, in order and acknowledged; what it says, handed on."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple, Protocol

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.refusals import Reason, Refusals
from edgemesh.bus.cloudhub.upgrade import Caller
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.model.cloud_status import ConnectedNode
from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.allowance import Allowance
from edgemesh.policy.bus.arrivals import Arrival, Arrivals
from edgemesh.policy.bus.outbox import Outbox, Outgoing
from edgemesh.wire.kubeedge.session import acknowledged, is_keepalive
from edgemesh.wire.message import (
    Message,
    MessageError,
    NotAnObjectError,
    decode_frame,
    decode_frames,
    encode_message,
)

# Ids of Messages that a node has sent lately, to know those that come again.
_REMEMBERED_IDS: Final = 128
# An edgemesh node loses nothing while its connection stands. It may be slow, and what is sent to
# it again is one thing more that it has to read: it is given so many times as long.
_PATIENCE: Final = 6


class Feed(Protocol):
    """What a node is sent by and by."""

    def next(self) -> Outgoing | None:
        """The next frame, None when there is none at present."""

    def add(self, outgoing: Outgoing) -> None:
        """Send a Message ahead of all others."""

    def ask_again(self, keys: Iterable[ObjectKey]) -> None:
        """What was sent of objects was never acknowledged: their newest states are due."""

    @property
    def revision(self) -> int:
        """Of the store, that the node was told."""

    @property
    def waiting(self) -> int:
        """How much there is that `next` has not yet returned, about."""


class Farewell(NamedTuple):
    """Why a session ends.

    Args:
        code: of the close frame.
        reason: for people.
    """

    code: CloseCode
    reason: str


class Session:
    """Serves one node until its connection ends.

    Args:
        caller: the node.
        connection: to it; whoever made it closes it.
        settings: limits and times.
        refusals: where what is refused is counted.
        handle: is given what the node says that is neither acknowledgement nor answer.

    Attributes:
        id: tells this session from every other.
        feed: what the node is sent, once it is known.
        followed: objects that the node has asked for, and hears of from then on.
        since: seconds since 1970.
    """

    def __init__(
        self,
        caller: Caller,
        connection: WebSocketConnection,
        settings: CloudSettings,
        refusals: Refusals,
        handle: Callable[[Session, Message], Awaitable[None]],
    ) -> None:
        self.caller = caller
        self.id = str(uuid.uuid4())
        self.feed: Feed | None = None
        self.followed: set[ObjectKey] = set()
        self.since = time.time()
        self.farewell: Farewell | None = None
        self._connection = connection
        self._settings = settings
        self._refusals = refusals
        self._handle = handle
        self._outbox = Outbox(
            settings.in_flight if caller.edgemesh else 1,
            settings.resend_seconds * (_PATIENCE if caller.edgemesh else 1),
            settings.resends,
        )
        self._news = trio.Event()
        self._urgent: deque[str] = deque()
        self._urgent_size = 0
        self._urgent_sent = trio.Event()
        self._ended = False
        self._silence = trio.CancelScope()
        self._whole = trio.CancelScope()
        self._asked: dict[str, _Answer] = {}
        self._arrivals = Arrivals(_REMEMBERED_IDS)
        self._allowance = Allowance(
            settings.message_burst, settings.messages_per_second, trio.current_time()
        )

    @property
    def node(self) -> str:
        """Its name."""
        return self.caller.node

    def shown(self) -> ConnectedNode:
        """The session, for people."""
        return ConnectedNode(
            node=self.node,
            kind="edgemesh" if self.caller.edgemesh else "KubeEdge",
            address=self.caller.address,
            since=self.since,
            revision=self.feed.revision if self.feed else 0,
            waiting=self.waiting,
        )

    @property
    def waiting(self) -> int:
        """Messages that the node has not yet acknowledged, or not even been sent."""
        return len(self._outbox) + (self.feed.waiting if self.feed else 0)

    def wake(self) -> None:
        """There may be something to send."""
        self._news.set()

    def end(self, code: CloseCode, reason: str) -> None:
        """End soon; the first reason that is given counts."""
        self.farewell = self.farewell or Farewell(code, reason)
        self._whole.cancel()

    async def run(self) -> None:
        """Serve until the node goes or `end` is called."""
        try:
            with self._whole:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send)
                    await self._receive()
                    nursery.cancel_scope.cancel()
        finally:
            self._ended = True
            self._urgent_sent.set()
            for answer in self._asked.values():
                answer.come.set()

    async def tell(self, message: Message) -> None:
        """Send a Message that nobody acknowledges, ahead of what is due by and by.

        It is on its way once this returns, even if the caller is cancelled then: half a frame
        would be the end of the connection.

        Raises:
            NodeAwayError: the connection has ended.
        """
        text = encode_message(message).decode()
        while self._urgent_size > self._settings.max_message_bytes and not self._ended:
            await self._urgent_sent.wait()
        if self._ended:
            raise NodeAwayError(f"node {self.node} is not connected any more")
        self._urgent.append(text)
        self._urgent_size += len(text)
        self._news.set()

    def insist(self, message: Message, key: ObjectKey) -> None:
        """Send a Message that the node has to acknowledge.

        Args:
            message: to be sent, ahead of what is due by and by.
            key: the object in it, whose newest state is sent if this never arrives.
        """
        assert self.feed is not None
        text = encode_message(message).decode()
        self.feed.add(Outgoing(message.header.msg_id, text, (key,)))
        self._news.set()

    async def ask(self, message: Message, seconds: float) -> Message:
        """Send a Message and wait for the one that answers it.

        Raises:
            NodeAwayError: the connection ended before.
            NodeSilentError: there was no answer in time.
        """
        answer = _Answer()
        self._asked[message.header.msg_id] = answer
        try:
            with trio.move_on_after(seconds):
                await self.tell(message)
                await answer.come.wait()
                if answer.message is None:
                    raise NodeAwayError(f"node {self.node} went away before it answered")
                return answer.message
        finally:
            del self._asked[message.header.msg_id]
        raise NodeSilentError(f"node {self.node} has not answered within {seconds:g} s")

    async def _receive(self) -> None:
        seconds = self._settings.silence_seconds
        with trio.CancelScope(deadline=trio.current_time() + seconds) as self._silence:
            try:
                while True:
                    await self._take(await self._connection.get_message())
            except (ConnectionClosed, NodeAwayError):
                return
        if not self._whole.cancel_called:
            self._refusals.count(Reason.SILENT, self.node, f"no keepalive for {seconds:g} s")
            self.end(CloseCode.SILENT, f"no keepalive for {seconds:g} s")

    async def _take(self, frame: str | bytes) -> None:
        limit = self._settings.max_message_bytes
        try:
            if self.caller.edgemesh:
                messages = decode_frames(frame, limit)
            else:
                messages = [decode_frame(frame, limit)]
        except NotAnObjectError as problem:
            self._refusals.count(Reason.MALFORMED_FRAME, self.node, str(problem))
            self.end(CloseCode.MALFORMED, str(problem)[:100])
            return
        except MessageError as problem:
            self._refusals.count(Reason.MALFORMED_MESSAGE, self.node, str(problem))
            return
        for message in messages:
            await self._take_message(message)

    async def _take_message(self, message: Message) -> None:
        if is_keepalive(message):
            self._silence.deadline = trio.current_time() + self._settings.silence_seconds
        elif message.header.parent_msg_id:
            self._take_answer(message)
        elif self._arrivals.take(message) is Arrival.NEW:
            await self._wait_for_allowance()
            await self._handle(self, message)
        else:
            self._refusals.count(
                Reason.REPLAYED, self.node, f"msg_id {message.header.msg_id!r:.64}"
            )

    async def _wait_for_allowance(self) -> None:
        """While this waits nothing is read: a node that asks without end feels that itself."""
        if not self._allowance.take(trio.current_time()):
            await trio.sleep(1 / self._settings.messages_per_second)
            self._allowance.take(trio.current_time())

    def _take_answer(self, message: Message) -> None:
        parent = message.header.parent_msg_id
        asked = self._asked.get(parent)
        if asked is not None:
            # Of several answers the first counts.
            asked.message = asked.message or message
            asked.come.set()
        elif acknowledged(message):
            # One that comes late, for what was sent again meanwhile, is no offence.
            if self._outbox.acknowledge(parent):
                self._news.set()
        else:
            self._refusals.count(Reason.UNEXPECTED_ANSWER, self.node, f"to {parent[:64]!r}")

    async def _send(self) -> None:
        try:
            while True:
                self._news = trio.Event()
                await self._send_what_is_due()
                wake_at = self._outbox.next_time()
                with trio.CancelScope(deadline=math.inf if wake_at is None else wake_at):
                    await self._news.wait()
        except NodeAwayError:
            self._whole.cancel()

    async def _send_what_is_due(self) -> None:
        await self._send_urgent()
        due = self._outbox.due(trio.current_time())
        for outgoing in due.lost:
            if self.feed is not None:
                self.feed.ask_again(outgoing.keys)
        for outgoing in due.again:
            await self._send_text(outgoing.text)
        while self._outbox.has_room and self.feed and (news := self.feed.next()):
            self._outbox.add(news, trio.current_time())
            await self._send_text(news.text)
            await self._send_urgent()

    async def _send_urgent(self) -> None:
        while self._urgent:
            text = self._urgent.popleft()
            await self._send_text(text)
            self._urgent_size -= len(text)
            self._urgent_sent.set()
            self._urgent_sent = trio.Event()

    async def _send_text(self, text: str) -> None:
        """Send one frame.

        Raises:
            NodeAwayError: the connection has ended, or the node takes nothing.
        """
        seconds = self._settings.silence_seconds
        try:
            with trio.move_on_after(seconds) as patience:
                await self._connection.send_message(text)
        except ConnectionClosed as closed:
            raise NodeAwayError(f"node {self.node} is not connected any more") from closed
        if patience.cancelled_caught:
            self._refusals.count(Reason.TAKES_NOTHING, self.node, f"for {seconds:g} s")
            self.end(CloseCode.SILENT, f"took nothing for {seconds:g} s")
            raise NodeAwayError(f"node {self.node} takes nothing")


class _Answer:
    """A question that waits."""

    def __init__(self) -> None:
        self.come = trio.Event()
        self.message: Message | None = None
