"""One connection to the metamanager: requests in turn, subscriptions beside them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import trio

from edgemesh.meta.channel import Channel
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.errors import OperatorError
from edgemesh.model.objects import Change
from edgemesh.model.settings import MetaSettings
from edgemesh.store.errors import StoreError
from edgemesh.store.watch import ChangeCursor
from edgemesh.wire.message import (
    Header,
    Message,
    MessageError,
    Operation,
    Route,
    decode_message,
    encode_content,
    encode_message,
)

_SOURCE = "metamanager"
_GROUP = "meta"


class Peer(NamedTuple):
    """Who is at the other end, as the kernel says, and what it may do."""

    uid: int
    may_write: bool


Answer = Callable[[Message, Peer], Awaitable[Any]]
Follow = Callable[[Message], ChangeCursor]


class Session:
    """Serves one client.

    Args:
        channel: to the client.
        peer: who it is.
        answer: does what a request asks and returns the content of the response.
        follow: makes the cursor that a subscription reads from.
        settings: limits of subscriptions and answers.
    """

    def __init__(
        self,
        channel: Channel,
        peer: Peer,
        answer: Answer,
        follow: Follow,
        settings: MetaSettings,
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._answer = answer
        self._follow = follow
        self._settings = settings
        self._subscriptions: dict[str, Subscription] = {}

    async def run(self) -> None:
        """Answer until the client ends or its connection is gone."""
        async with trio.open_nursery() as nursery:
            try:
                while await self._turn(nursery):
                    pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The client has gone; what it did not read no longer matters.
                pass
            nursery.cancel_scope.cancel()

    async def _turn(self, nursery: trio.Nursery) -> bool:
        """Receive one line and answer it; False at the end."""
        request = None
        try:
            line = await self._channel.receive()
            if line is None:
                return False
            request = decode_message(line)
            await self._serve(request, nursery)
        except MessageError as error:
            await self._refuse(request, RefusedError(Code.BAD_REQUEST, str(error)))
        except RefusedError as error:
            await self._refuse(request, error)
        except StoreError as error:
            refused = RefusedError(Code.UNAVAILABLE, error.problem, error.remedy)
            await self._refuse(request, refused)
        except OperatorError as error:
            await self._refuse(request, RefusedError(Code.INVALID, error.problem, error.remedy))
        return True

    async def _serve(self, request: Message, nursery: trio.Nursery) -> None:
        match request.route.operation:
            case Operation.SUBSCRIBE:
                self._subscribe(request, nursery)
            case Operation.UNSUBSCRIBE:
                self._unsubscribe(request)
                await self._respond(request, "OK")
            case _:
                await self._respond(request, await self._answer(request, self._peer))

    def _subscribe(self, request: Message, nursery: trio.Nursery) -> None:
        if request.header.msg_id in self._subscriptions:
            raise RefusedError(
                Code.CONFLICT, f"msg_id {request.header.msg_id!r} names a subscription already"
            )
        if len(self._subscriptions) >= self._settings.max_subscriptions:
            raise RefusedError(
                Code.CONFLICT, f"more than {self._settings.max_subscriptions} subscriptions"
            )
        subscription = Subscription(
            self._channel, request, self._follow(request), self._settings.watch_queue
        )
        self._subscriptions[request.header.msg_id] = subscription
        nursery.start_soon(self._run_subscription, subscription, nursery.cancel_scope)

    def _unsubscribe(self, request: Message) -> None:
        subscription = self._subscriptions.pop(request.header.parent_msg_id, None)
        if subscription is None:
            raise RefusedError(
                Code.NOT_FOUND,
                f"parent_msg_id {request.header.parent_msg_id!r} names no subscription",
            )
        subscription.end()

    async def _run_subscription(
        self, subscription: Subscription, whole_session: trio.CancelScope
    ) -> None:
        try:
            refused = await subscription.run()
            if refused:
                await self._refuse(subscription.request, refused)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            whole_session.cancel()
        finally:
            self._subscriptions.pop(subscription.request.header.msg_id, None)

    async def _respond(self, request: Message, content: Any) -> None:
        line = encode_reply(request, Operation.RESPONSE, request.route.resource, content)
        if len(line) > self._settings.max_message_bytes:
            raise RefusedError(
                Code.TOO_LARGE,
                f"the answer to {request.route.resource} has {len(line)} bytes, more than "
                f"{self._settings.max_message_bytes}",
                "ask for one namespace or kind, or subscribe",
            )
        await self._channel.send(line)

    async def _refuse(self, request: Message | None, error: RefusedError) -> None:
        await self._channel.send(
            encode_reply(
                request,
                Operation.ERROR,
                request.route.resource if request else "",
                error.content(),
            )
        )


class Subscription:
    """One watch of one client: the list, ``synced``, then each change."""

    def __init__(
        self, channel: Channel, request: Message, cursor: ChangeCursor, watch_queue: int
    ) -> None:
        self.request = request
        self._channel = channel
        self._cursor = cursor
        self._watch_queue = watch_queue
        self._waiting = trio.CancelScope()
        self._ended = trio.Event()

    def end(self) -> None:
        """Send nothing more. A line that is being sent is finished first: it must stay whole."""
        self._ended.set()
        self._waiting.cancel()

    async def run(self) -> RefusedError | None:
        """Send until ended.

        Returns:
            Why the client has to subscribe again: it lags behind too far, or the store cannot
            be read. None when it was ended.

        Raises:
            trio.BrokenResourceError: the connection is gone.
        """
        listed = False
        while not self._ended.is_set():
            with trio.CancelScope() as self._waiting:
                await self._cursor.wait()
            if self._ended.is_set():
                break
            if listed and self._cursor.lag > self._watch_queue:
                return self._too_slow()
            try:
                batch = await self._cursor.next()
            except StoreError as error:
                return RefusedError(Code.UNAVAILABLE, error.problem, error.remedy)
            if batch.reset and listed:
                return self._too_slow()
            for change in batch.changes:
                if self._ended.is_set():
                    break
                if self._cursor.lag > self._watch_queue:
                    return self._too_slow()
                await self._send_change(change)
            if batch.synced and not listed:
                listed = True
                await self._channel.send(
                    encode_reply(
                        self.request,
                        Operation.RESPONSE,
                        self.request.route.resource,
                        "synced",
                        str(batch.revision),
                    )
                )
        return None

    async def _send_change(self, change: Change) -> None:
        key = change.object.key
        resource = f"{key.namespace or 'null'}/{key.kind.lower()}/{key.name}"
        await self._channel.send(
            encode_reply(
                self.request,
                change.type.value,
                resource,
                change.object.body,
                str(change.object.resource_version),
            )
        )

    def _too_slow(self) -> RefusedError:
        return RefusedError(
            Code.EXPIRED,
            f"watch of {self.request.route.resource} cut off: more than {self._watch_queue} "
            "changes behind",
            "subscribe again; the list comes first",
        )


def encode_reply(
    request: Message | None, operation: str, resource: str, content: Any, revision: str = ""
) -> bytes:
    """A line that answers a request, or none in particular when it could not be read."""
    return encode_message(
        Message(
            header=Header(
                msg_id=str(uuid.uuid4()),
                parent_msg_id=request.header.msg_id if request else "",
                timestamp=time.time_ns() // 1_000_000,
                resourceversion=revision,
            ),
            route=Route(source=_SOURCE, group=_GROUP, operation=operation, resource=resource),
            content=encode_content(content),
        )
    )
