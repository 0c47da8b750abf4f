"""A flow's forwarding state, which stays with it whichever stage carries it.

What one stage leaves is where the next begins: bytes that were read and not taken, ends of
stream that were passed on, and when something moved last. So a flow may change hands at any
time, and back.
"""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.flows import Mover
from edgemesh.proxy.flow import Flow

_NONE: frozenset[Mover] = frozenset()
_FOR_KERNELS_OWN = frozenset({Mover.SPLICE, Mover.SOCKMAP})


class Direction:
    """One way of a flow.

    Attributes:
        unsent: was read at its begin, and is to be taken at its end before anything else.
        ended: end of stream was read at its begin and passed on; nothing is unsent then.
        moved: bytes that the socket at its end has taken.
    """

    __slots__ = ("ended", "moved", "unsent")

    def __init__(
        self, unsent: bytes | memoryview = b"", *, ended: bool = False, moved: int = 0
    ) -> None:
        """Begin, or go on, with what is described above."""
        self.unsent = unsent
        self.ended = ended
        self.moved = moved


class Carried:
    """Both ways, and what is to be known of the flow as a whole.

    Attributes:
        from_client, from_endpoint: see there. A stage may put its own in their place as long as
            it holds the flow.
        last_active: when something moved last, monotonic seconds.
        over: is called when the flow ends.
        unnamed: what passes first tells the protocol, and nothing has passed yet.
        unheard: the endpoint has not answered yet, and whether it does is to be told.
        mover: what carries it now.
        movers: what has moved bytes of it before, in order.
        unable: what cannot carry this flow, so that it is not tried again; virtual sockets are
            for the relay alone.
    """

    __slots__ = (
        "_moved_before",
        "from_client",
        "from_endpoint",
        "last_active",
        "mover",
        "movers",
        "over",
        "unable",
        "unheard",
        "unnamed",
    )

    def __init__(
        self,
        last_active: float,
        over: Callable[[], None] | None = None,
        *,
        from_client: Direction | None = None,
        from_endpoint: Direction | None = None,
        unnamed: bool = False,
        unheard: bool = False,
        virtual: bool = False,
    ) -> None:
        """Begin with the relay, which can carry everything; a direction that is None is new."""
        self.from_client = from_client or Direction()
        self.from_endpoint = from_endpoint or Direction()
        self.last_active = last_active
        self.over = over
        self.unnamed = unnamed
        self.unheard = unheard
        self.mover = Mover.RELAY
        self.movers: tuple[Mover, ...] = ()
        self.unable = _FOR_KERNELS_OWN if virtual else _NONE
        self._moved_before = 0

    @property
    def half_closed(self) -> bool:
        """Whether one way at least has ended."""
        return self.from_client.ended or self.from_endpoint.ended

    @property
    def closed(self) -> bool:
        """Whether both have."""
        return self.from_client.ended and self.from_endpoint.ended

    def hand_to(self, mover: Mover) -> None:
        """Note what carries the flow from now on."""
        moved = self.from_client.moved + self.from_endpoint.moved
        if moved > self._moved_before and self.mover not in self.movers:
            self.movers += (self.mover,)
        self._moved_before = moved
        self.mover = mover

    def hear(self, flow: Flow) -> None:
        """The endpoint has answered: it is well, however long the flow goes on."""
        self.unheard = False
        assert flow.attempt is not None
        flow.attempt.hear()

    def settle(self, flow: Flow) -> None:
        """Add to ``flow``, which is over, what was counted; for the stage that held it last."""
        self.hand_to(self.mover)
        flow.bytes_sent += self.from_client.moved
        flow.bytes_received += self.from_endpoint.moved
        flow.movers = self.movers
        if self.unheard and self.from_endpoint.moved:
            self.hear(flow)
        if self.over is not None:
            self.over()
