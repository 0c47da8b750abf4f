"""What the data plane asks of the bus, which carries streams to other ends of the mesh."""

from __future__ import annotations

from typing import Protocol

from edgemesh.model.streams import StreamRequest
from edgemesh.reactor.virtual import VirtualSocket


class Remote(Protocol):
    """Who knows the ways to other ends."""

    def route(self, node: str) -> str:
        """How streams get to another end now.

        It is asked for each call, so it does no I/O.

        Args:
            node: its name, `model.streams.CLOUD` for the cloud.

        Returns:
            ``link``, ``hub`` or ``cloud``; "" where its endpoints are to be dialled at their own
            addresses.
        """
        ...

    def connect(self, request: StreamRequest) -> VirtualSocket | None:
        """Begin a stream; None when there is no way any more.

        Ownership: the caller closes the socket.
        """
        ...
