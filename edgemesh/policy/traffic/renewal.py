"""When connections to endpoints of other nodes have to be followed by new ones.

Where servers of a Service are limited, the node of the endpoint intercepts calls that come from
elsewhere (`policy.inbound`), but only connections that are opened while it does so. It may have
learned of the limit later than this node, or its agent may have been away for a while. So after
the limit has appeared connections are renewed soon, then less and less often.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgemesh.policy.traffic.endpoint_state import EndpointState

_NEVER = float("inf")
_FIRST_SECONDS = 1.0


class Renewal:
    """Of the connections to one Service port's endpoints."""

    __slots__ = ("_due", "_interval", "_longest")

    def __init__(self, longest_seconds: float) -> None:
        """Begin with nothing to renew; ``longest_seconds`` between two renewals."""
        self._longest = longest_seconds
        self._interval = _FIRST_SECONDS
        self._due = _NEVER

    def set_limited(self, now: float, *, limited: bool) -> None:
        """Whether servers are limited, at ``now``."""
        if not limited:
            self._due = _NEVER
        elif self._due == _NEVER:
            self._interval = min(_FIRST_SECONDS, self._longest)
            self._due = now

    def look(self, states: Iterable[EndpointState], node: str, now: float) -> float:
        """Let connections be renewed if it is time; when to look again.

        Args:
            states: of the port's endpoints.
            node: this one; the calls of its own endpoints are limited here.
            now: monotonic seconds.
        """
        if now >= self._due:
            for state in states:
                if state.endpoint.node not in {"", node}:
                    state.generation += 1
            self._due = now + self._interval
            self._interval = min(2 * self._interval, self._longest)
        return self._due
