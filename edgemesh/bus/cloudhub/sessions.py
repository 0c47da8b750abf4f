"""Who is connected: one session a node, the newest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import trio

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.router.nodes import NodeAwayError
from edgemesh.model.cloud_status import ConnectedNode
from edgemesh.observe.log import get_logger
from edgemesh.wire.message import Message

# A share that nobody waits for: frozen machines, and links that are down by now.
_FEW: Final = 0.1

_log = get_logger("cloudhub")


class Elsewhere(Protocol):
    """Reaches nodes that are connected to other replicas."""

    async def tell(self, node: str, message: Message) -> None:
        """See `Sessions.tell`."""

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        """See `Sessions.ask`."""


class Change(Protocol):
    """Is told of a session that begins or has ended."""

    def __call__(self, session: Session, *, here: bool) -> None:
        """Take note; at once."""


class Sessions:
    """The table of sessions.

    Attributes:
        elsewhere: reaches nodes that are not connected here; None where this is all there is.
    """

    def __init__(self) -> None:
        self.elsewhere: Elsewhere | None = None
        self._by_node: dict[str, Session] = {}
        self._left = trio.Event()
        self._on_change: list[Change] = []

    def __len__(self) -> int:
        """How many nodes are connected."""
        return len(self._by_node)

    def __iter__(self) -> Iterator[Session]:
        """All of them."""
        return iter(tuple(self._by_node.values()))

    def on_change(self, use: Change) -> None:
        """Call ``use`` with each session that begins or has ended."""
        self._on_change.append(use)

    def get(self, node: str) -> Session | None:
        """The session of a node, None when it is not connected here."""
        return self._by_node.get(node)

    def are_behind(self) -> bool:
        """Whether many edgemesh nodes have not yet taken in what they were told."""
        behind = sum(session.caller.edgemesh and session.waiting > 0 for session in self)
        return behind > len(self) * _FEW

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
        self._tell(session, here=True)
        try:
            await session.run()
        finally:
            if self._by_node.get(node) is session:
                del self._by_node[node]
                self._left.set()
                self._left = trio.Event()
            self._tell(session, here=False)
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
        session = self._by_node.get(node)
        if session is None:
            await self._others(node).tell(node, message)
        else:
            await session.tell(message)

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        """Send a node a Message and wait for the one that answers it, by its parent_msg_id.

        Raises:
            NodeAwayError: it is not connected, or goes before it answers.
            NodeSilentError: there was no answer in time.
        """
        session = self._by_node.get(node)
        if session is None:
            return await self._others(node).ask(node, message, seconds)
        return await session.ask(message, seconds)

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

    def _others(self, node: str) -> Elsewhere:
        if self.elsewhere is None:
            raise NodeAwayError(f"node {node} is not connected")
        return self.elsewhere

    def _tell(self, session: Session, *, here: bool) -> None:
        for use in self._on_change:
            use(session, here=here)
