"""What the agent keeps of a flow that is known to the gate; sockmap.py has the theory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgemesh.kernel.bpf.gate_maps import Way
from edgemesh.kernel.sockets import Socket
from edgemesh.kernel.tcp_state import TCP_CLOSE, TcpState, tcp_state
from edgemesh.proxy.forward.carried import Carried, Direction

if TYPE_CHECKING:
    from edgemesh.proxy.forward.pump import End, Pump
    from edgemesh.proxy.forward.redirection import Redirection

    MakeEnd = Callable[[Pump, Socket, Direction], End]


class Side:
    """One socket, and the direction that starts at it.

    Attributes:
        direction: what all movers have moved; of the flow's `Carried` as it is now.
        way: what the kernel has of it.
        entered: whether the socket has the program, so that what comes is counted there.
    """

    __slots__ = ("_counted", "_moved_before", "direction", "entered", "sock", "way")

    def __init__(self, sock: Socket, direction: Direction, way: Way) -> None:
        """Begin with nothing moved by the kernel."""
        self.sock = sock
        self.direction = direction
        self.way = way
        self.entered = False
        self._moved_before = direction.moved
        self._counted = 0

    def count(self) -> None:
        """Add to ``direction`` what the kernel has moved."""
        redirected = self.way.redirected
        self.direction.moved += redirected - self._counted
        self._counted = redirected

    def rest(self) -> float:
        """Seconds since the kernel has moved something; for ever when that is counted."""
        if self.way.redirected == self._counted:
            return math.inf
        return time.monotonic() - self.way.last_redirected

    def release(self) -> None:
        """Let the kernel move what comes, once all that was passed before is sent."""
        self.way.release(self.sent)

    def all_is_sent(self) -> bool:
        """Whether the agent has sent all that was passed; not while the kernel moves bytes."""
        return not self.entered or self.sent == self.way.passed

    def consume(self, count: int) -> None:
        """Take so many bytes that were passed for sent: the agent has kept them."""
        self._moved_before -= count
        self.way.shift(-count)

    def put_in(self, count: int) -> None:
        """Have so many bytes of the agent's own sent with the direction, from now on."""
        self._moved_before += count
        self.way.shift(count)

    def has_arrived(self, target: TcpState) -> bool:
        """Whether all that is counted was written to the target, or never will be."""
        moved = self.direction.moved - self._moved_before
        return target.written >= self.way.base + moved or target.state == TCP_CLOSE

    @property
    def sent(self) -> int:
        """Bytes that were passed, and that the agent has sent."""
        return self.direction.moved - self._moved_before - self._counted


class Member:
    """A flow that is known to the gate, until it is over.

    Attributes:
        client, endpoint: its two sides.
        stay: the stage, while the kernel moves the flow.
        observed: makes the client's end of a flow whose requests are counted; None for others.
    """

    __slots__ = ("client", "endpoint", "observed", "stay")

    def __init__(self, client: Side, endpoint: Side) -> None:
        """Begin as one that is held."""
        self.client = client
        self.endpoint = endpoint
        self.stay: Redirection | None = None
        self.observed: MakeEnd | None = None

    @property
    def has_lost(self) -> bool:
        """Whether something of the flow can never arrive."""
        return self.client.way.lost or self.endpoint.way.lost

    def all_has_arrived(self) -> bool:
        """Whether what the kernel has redirected, and what the agent has sent, is written."""
        endpoint_has = self.client.has_arrived(tcp_state(self.endpoint.sock))
        return endpoint_has and self.endpoint.has_arrived(tcp_state(self.client.sock))

    def all_is_sent(self) -> bool:
        """Whether nothing that was passed is kept or unread."""
        return self.client.all_is_sent() and self.endpoint.all_is_sent()

    def follow(self, carried: Carried) -> None:
        """Go on with the directions as the last stage has left them."""
        self.client.direction = carried.from_client
        self.endpoint.direction = carried.from_endpoint
