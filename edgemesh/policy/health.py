"""When probes change what is thought of an endpoint."""

from __future__ import annotations

from edgemesh.model.policies import HealthCheck


class ProbeStreak:
    """The probes of one endpoint.

    The first one settles it alone: nothing else is known then, as after a restart without the
    cloud. Later ones do when so many of them in a row say the opposite.

    Attributes:
        healthy: what is thought; None before the first probe.
    """

    __slots__ = ("_check", "_opposite", "healthy")

    def __init__(self, check: HealthCheck) -> None:
        """Know nothing yet; ``check`` says how many in a row it takes."""
        self._check = check
        self._opposite = 0
        self.healthy: bool | None = None

    def note(self, *, passed: bool) -> bool:
        """Take note of a probe; whether something else is thought now."""
        if passed is self.healthy:
            self._opposite = 0
            return False
        self._opposite += 1
        check = self._check
        needed = check.healthy_threshold if passed else check.unhealthy_threshold
        if self.healthy is not None and self._opposite < needed:
            return False
        self.healthy = passed
        self._opposite = 0
        return True
