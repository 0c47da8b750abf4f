"""Nodes, as the router reaches them."""

from __future__ import annotations

from typing import Protocol

import trio

from edgemesh.wire.message import Message


class NodeAwayError(Exception):
    """The node is not connected, or its connection ended before it answered."""


class NodeSilentError(Exception):
    """The node has not answered in time."""


class NotReachedError(Exception):
    """The node is there, but not the application behind it; the text says why."""


class Nodes(Protocol):
    """Puts Messages and streams through to nodes; app joins it with cloudhub and links."""

    async def tell(self, node: str, message: Message) -> None:
        """Send a Message that nobody answers.

        Raises:
            NodeAwayError: see there.
        """

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        """Send a Message and return the one that answers it.

        Raises:
            NodeAwayError: see there.
            NodeSilentError: see there.
        """

    async def open_servicebus(self, node: str, port: int, seconds: float) -> trio.abc.Stream | None:
        """A stream to an application behind a node's servicebus.

        Returns:
            The stream, which the caller closes; None for a node that takes Messages only.

        Raises:
            NodeAwayError: the node is not connected, or its link is lost.
            NotReachedError: see there.
            NodeSilentError: see there.
        """
