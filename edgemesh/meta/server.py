"""The metamanager: the node's metadata, asked and changed over a unix socket."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from edgemesh.meta import listening
from edgemesh.meta.channel import Channel
from edgemesh.meta.controller import Controller
from edgemesh.meta.errors import Code, RefusedError
from edgemesh.meta.feed import ChangeFeed
from edgemesh.meta.requests import QueryHandler, Requests, scope_of
from edgemesh.meta.session import Peer, Session, encode_reply
from edgemesh.meta.status import ShownCursor, ShownObjects, StatusSource
from edgemesh.model.settings import MetaSettings
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.watch import ChangeCursor
from edgemesh.wire.message import Message, Operation


class Metamanager:
    """Keeps the node's metadata: every write passes its controller, every client its socket.

    Args:
        store: open; who opened it closes it.
        settings: limits and address ranges.

    ``clients`` is the number of connections at the moment.
    """

    def __init__(self, store: Store, settings: MetaSettings) -> None:
        self._store = store
        self._settings = settings
        self._shown = ShownObjects()
        self._requests = Requests(store, Controller(settings), self._shown)
        self.clients = 0

    def add_query(self, type_word: str, handler: QueryHandler) -> None:
        """Let a handler answer queries that are not about stored objects.

        Args:
            type_word: the type in the resource, ``status`` of ``null/status``.
            handler: gets the Message and returns the content of the response, or raises
                OperatorError.
        """
        self._requests.add_query(type_word, handler)

    def add_conditions(self, source: StatusSource) -> None:
        """Let queries and watches show how policy objects stand."""
        self._shown.source = source

    def subscribe_changes(self) -> ChangeFeed:
        """Everything in the store, then every change, for a part of the same process."""
        cursor = ChangeCursor(self._store, Scope(), self._settings.page_bytes)
        return ChangeFeed(cursor, self._settings.read_retry_seconds)

    async def serve(
        self, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the socket until cancelled.

        Args:
            path: of the socket, mode 0660. One that nobody answers on is replaced; a missing
                directory is made, mode 0750.
            task_status: started once clients can connect.

        Raises:
            OperatorError: another process answers on the socket, or it cannot be made.

        Cancellation: connections are closed as they are; what was acknowledged is on disk.
        """
        async with listening.unix_listener(path) as listener, trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve_client, [listener])
            task_status.started()

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        uid = listening.peer_uid(stream.socket)
        peer = Peer(uid, may_write=uid in {0, os.geteuid()})
        settings = self._settings
        limit = settings.max_message_bytes if peer.may_write else settings.max_query_bytes
        channel = Channel(stream, limit, settings.client_timeout_seconds)
        if self.clients >= settings.max_clients:
            await self._turn_away(channel)
            return
        self.clients += 1
        try:
            await Session(channel, peer, self._requests.answer, self._follow, settings).run()
        finally:
            self.clients -= 1

    def _follow(self, request: Message) -> ChangeCursor:
        scope = scope_of(request.resource)
        return ShownCursor(self._store, scope, self._settings.page_bytes, self._shown)

    async def _turn_away(self, channel: Channel) -> None:
        refused = RefusedError(
            Code.UNAVAILABLE,
            f"{self._settings.max_clients} clients are connected already",
            "see meta.max_clients in the configuration",
        )
        try:
            await channel.send(encode_reply(None, Operation.ERROR, "", refused.content()))
        except trio.BrokenResourceError:
            return
