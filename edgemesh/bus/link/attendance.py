"""Whether the other end of a link is still there, and how long the way to it is."""

from __future__ import annotations

from typing import Protocol

from edgemesh.bus.link.sending import Sender
from edgemesh.policy.bus.liveness import Finding, Liveness
from edgemesh.reactor.reactor import Handler, Reactor
from edgemesh.reactor.timers import Timer
from edgemesh.wire.link.frames import PING, PING_BYTES, frame


class Attended(Handler, Protocol):
    """Whose other end is looked after."""

    @property
    def is_busy(self) -> bool:
        """Whether there are streams."""
        ...

    def looked(self) -> None:
        """It is time to look whether the connection is used."""
        ...

    def doubts(self) -> None:
        """The other end is doubted from now on."""
        ...

    def end(self, problem: str) -> None:
        """Nobody is there any more."""
        ...


class Attendance:
    """See the module.

    Attributes:
        round_trip_seconds: 0 when it was not measured yet.
    """

    __slots__ = (
        "_attended",
        "_liveness",
        "_ping",
        "_ping_at",
        "_reactor",
        "_sender",
        "_timer",
        "round_trip_seconds",
    )

    def __init__(
        self, reactor: Reactor, attended: Attended, sender: Sender, silence_seconds: float
    ) -> None:
        """Look after nobody before `begin`."""
        self._reactor = reactor
        self._attended = attended
        self._sender = sender
        self._liveness = Liveness(silence_seconds, reactor.now)
        self._ping = 0
        self._ping_at = 0.0
        self._timer: Timer[Handler] | None = None
        self.round_trip_seconds = 0.0

    @property
    def doubted(self) -> bool:
        """Whether the other end has not answered for suspiciously long."""
        return self._liveness.doubted

    def begin(self) -> None:
        """Look from now on."""
        self._ask()
        self._look_again()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def heard(self) -> bool:
        """The other end has said something; whether it was doubted."""
        return self._liveness.heard(self._reactor.now)

    def ponged(self, payload: bytes) -> None:
        """The other end has answered; only its newest answer says how long that takes."""
        if int.from_bytes(payload, "big") == self._ping:
            self.round_trip_seconds = self._reactor.clock() - self._ping_at

    def _look(self) -> None:
        now = self._reactor.now
        attended = self._attended
        finding = self._liveness.look(now, busy=attended.is_busy)
        if finding is Finding.GIVE_UP:
            attended.end(f"no word for {self._liveness.quiet(now):.0f} s")
            return
        self._look_again()
        if finding is Finding.ASK:
            self._ask()
        elif finding is Finding.DOUBT:
            attended.doubts()
        attended.looked()

    def _look_again(self) -> None:
        self._timer = self._reactor.after(self._liveness.look_seconds, self._attended, self._look)

    def _ask(self) -> None:
        self._ping += 1
        self._ping_at = self._reactor.clock()
        self._liveness.asked(self._reactor.now)
        self._sender.put(frame(PING, 0, self._ping.to_bytes(PING_BYTES, "big")))
