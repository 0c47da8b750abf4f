"""Who is connected: one session a node, the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.router.nodes import NodeAwayError
from edgemesh.model.cloud_status import ConnectedNode
from edgemesh.observe.log import get_logger
from edgemesh.wire.message import Message

_log = get_logger("cloudhub")


class Sessions:
    """The table of sessions."""

    def __init__(self) -> None:
        self._by_node: dict[str, Session] = {}
        self._left = trio.Event()
        self._on_change: list[Callable[[str, Session | None], None]] = []

    def __len__(self) -> int:
        """How many nodes are connected."""
        return len(self._by_node)

    def __iter__(self) -> Iterator[Session]:
        """All of them."""
        return iter(tuple(self._by_node.values()))

    def on_change(self, use: Callable[[str, Session | None], None]) -> None:
        """Call ``use`` with a node and its session, None when it has gone."""
        self._on_change.append(use)

    def get(self, node: str) -> Session | None:
        """The session of a node, None when it is not connected here."""
        return self._by_node.get(node)

    async def run(self, session: Session) -> None:
        """Put a session into the table, in the place of an older one, and run it to its end."""
        node, caller = session.node, session.caller
        older = self._by_node.get(node)
        if older is not None:
            older.end(
                CloseCode.TOOK_OVER, f"node {node} has connected again, from {caller.address}"
            )
        self._by_node[node] = session
        _log.info(
            "node connected",
            node=node,
            peer=caller.address,
            kind=session.shown().kind,
            instead_of=older.caller.address if older else None,
        )
        self._tell(node, session)
        try:
            await session.run()
        finally:
            if self._by_node.get(node) is session:
                del self._by_node[node]
                self._tell(node, None)
                self._left.set()
                self._left = trio.Event()
            _log.info(
                "node disconnected",
                node=node,
                peer=caller.address,
                reason=session.farewell.reason if session.farewell else "it went away",
            )

    async def tell(self, node: str, message: Message) -> None:
        """Send a node a Message that nobody acknowledges.

        Raises:
            NodeAwayError: it is not connected.
        """
        await self._session(node).tell(message)

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        """Send a node a Message and wait for the one that answers it, by its parent_msg_id.

        Raises:
            NodeAwayError: it is not connected, or goes before it answers.
            NodeSilentError: there was no answer in time.
        """
        return await self._session(node).ask(message, seconds)

    def end_all(self, code: CloseCode, reason: str) -> None:
        """End every session."""
        for session in self:
            session.end(code, reason)

    async def empty(self) -> None:
        """Wait until nobody is connected."""
        while self._by_node:
            await self._left.wait()

    def connected(self) -> list[ConnectedNode]:
        """The nodes, for people, by name."""
        return sorted((session.shown() for session in self), key=lambda shown: shown.node)

    def _session(self, node: str) -> Session:
        session = self._by_node.get(node)
        if session is None:
            raise NodeAwayError(f"node {node} is not connected")
        return session

    def _tell(self, node: str, session: Session | None) -> None:
        for use in self._on_change:
            use(node, session)
