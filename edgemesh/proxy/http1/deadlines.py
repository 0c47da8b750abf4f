"""Deadlines of a connection that are set with every request and nearly never reached.

There is one timer. It is set anew only for an earlier deadline; when it fires it asks for the
deadline that holds by then, and is set for that one. So a request costs a comparison.
"""

from __future__ import annotations

from typing import Protocol

from edgemesh.reactor.reactor import Handler, Reactor
from edgemesh.reactor.timers import Timer

NEVER = float("inf")


class Waiting(Handler, Protocol):
    """Who has deadlines."""

    def due(self) -> float:
        """When the next one is, on the reactor's clock; NEVER for none."""
        ...

    def expire(self) -> None:
        """It has passed."""
        ...


class Deadlines:
    """The timer of one connection.

    Attributes:
        at: when the timer fires.
    """

    __slots__ = ("_owner", "_reactor", "_timer", "at")

    def __init__(self, reactor: Reactor, owner: Waiting) -> None:
        """Set nothing yet."""
        self._reactor = reactor
        self._owner = owner
        self._timer: Timer[Handler] | None = None
        self.at = NEVER

    def by(self, due: float) -> None:
        """Make sure that the owner is asked at this time, or before."""
        if due >= self.at:
            return
        self.stop()
        self.at = due
        self._timer = self._reactor.after(due - self._reactor.now, self._owner, self._fire)

    def stop(self) -> None:
        """Forget the timer."""
        self.at = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self.at = NEVER
        due = self._owner.due()
        if due <= self._reactor.now:
            self._owner.expire()
        else:
            self.by(due)
