"""What endpoints fail at, counted."""

from __future__ import annotations

from edgemesh.model.meters import Meter
from edgemesh.policy.traffic.calls import Outcome


def count_failure(meter: Meter, outcome: Outcome) -> None:
    """Count a call that got no answer; what was answered counts by its status."""
    if outcome is Outcome.CONNECT_FAILED:
        meter.connect_failures += 1
    elif outcome is Outcome.RESET:
        meter.resets += 1
    elif outcome is Outcome.TIMEOUT:
        meter.timeouts += 1
