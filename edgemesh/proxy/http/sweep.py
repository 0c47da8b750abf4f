"""Looks now and then for what has been idle for too long, while there is anything to look at."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.reactor.reactor import Handler, Reactor
from edgemesh.reactor.timers import Timer


class Sweep:
    """One timer, and the handler of it."""

    def __init__(self, reactor: Reactor, seconds: float, close_idle: Callable[[], bool]) -> None:
        """Wait for `begin`.

        Args:
            reactor: calls.
            seconds: between one look and the next.
            close_idle: looks; tells whether anything is left to be looked at again.
        """
        self._reactor = reactor
        self._seconds = seconds
        self._close_idle = close_idle
        self._timer: Timer[Handler] | None = None

    def begin(self) -> None:
        """There is something to look at; nothing happens when that was known."""
        if self._timer is None:
            self._set()

    def end(self) -> None:
        """There is nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_events(self, events: int) -> None:
        """Nothing is watched."""

    def on_bug(self, error: Exception) -> None:  # noqa: ARG002 - logged by the reactor
        """Look again later."""
        self._set()

    def _set(self) -> None:
        self._timer = self._reactor.after(self._seconds, self, self._look)

    def _look(self) -> None:
        more = self._close_idle()
        self._timer = None
        if more:
            self._set()
