"""What an exchange needs of whoever carries its request."""

from __future__ import annotations

from typing import Protocol

from edgemesh.policy.traffic.endpoint_state import EndpointState
from edgemesh.proxy.http.answers import Answer
from edgemesh.reactor.reactor import Handler


class Carrier(Handler, Protocol):
    """The connection, or the stream of one, that carries a request."""

    def forward(self, state: EndpointState) -> None:
        """Send the request to this endpoint, from its start."""
        ...

    def answer(self, answer: Answer) -> None:
        """Give this answer; the exchange is over."""
        ...

    def can_repeat(self) -> bool:
        """Whether all of the request that was sent is still here to be sent again."""
        ...
