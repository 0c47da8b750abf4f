"""What is remembered of one endpoint of a Service port, for as long as it is one."""

from __future__ import annotations

from collections.abc import Callable

from edgemesh.model.meters import Meter
from edgemesh.model.services import Endpoint
from edgemesh.policy.traffic.breaker import BreakerState


class EndpointState:
    """One endpoint, shared by all subsets of its port.

    Attributes:
        endpoint: as the snapshot has it now.
        since: when it was first seen or last came back, monotonic seconds; slow start begins
            there.
        active: requests (http) or connections (other paths) that are open.
        connections: open connections to it, idle ones of pools, too.
        draining: no longer in the snapshot: nothing new goes there.
        generation: counts on when connections that were opened before have to be followed by new
            ones; see `Renewal`.
        breaker: see there.
        calls, failures: that are over; calls that the client gave up count as calls only.
        seconds: that all of them took together.
        meter: where its calls are counted, None until somebody needs it
            (`observe.metrics.meters`).
    """

    __slots__ = (
        "_changed",
        "_probed_healthy",
        "active",
        "breaker",
        "calls",
        "connections",
        "draining",
        "endpoint",
        "failures",
        "generation",
        "meter",
        "seconds",
        "since",
    )

    def __init__(self, endpoint: Endpoint, since: float, changed: Callable[[], None]) -> None:
        """Begin without history.

        Args:
            endpoint: see there.
            since: see there.
            changed: is called when it may be chosen again, or no longer.
        """
        self.endpoint = endpoint
        self.since = since
        self.active = 0
        self.connections = 0
        self.draining = False
        self.generation = 0
        self.breaker = BreakerState()
        self.calls = 0
        self.failures = 0
        self.seconds = 0.0
        self.meter: Meter | None = None
        self._probed_healthy = True
        self._changed = changed

    @property
    def probed_healthy(self) -> bool:
        """What active health checks say; True before they do."""
        return self._probed_healthy

    @probed_healthy.setter
    def probed_healthy(self, healthy: bool) -> None:
        if healthy is not self._probed_healthy:
            self._probed_healthy = healthy
            self._changed()

    def changed(self) -> None:
        """Say that it may be chosen again, or no longer."""
        self._changed()

    @property
    def is_idle(self) -> bool:
        """Whether nothing refers to it any more once it is drained."""
        return not self.active and not self.connections
