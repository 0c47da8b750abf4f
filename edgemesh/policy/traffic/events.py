"""What is worth a line in the log: endpoints that are taken out, and that come back."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from edgemesh.model.services import Endpoint, ServicePort


class EventKind(StrEnum):
    """What happened to an endpoint."""

    EJECTED = "ejected"
    RETURNED = "returned"


class Event(NamedTuple):
    """An endpoint was taken out by its breaker, or takes its share again.

    Args:
        kind: which of the two.
        port: of whose calls.
        subset: "" when it was not one.
        endpoint: whose breaker it is.
        reason: ``consecutive-errors``, ``consecutive-gateway-errors``, ``success-rate`` or
            ``trial-failed``; "" when it came back.
        seconds: how long it is out, 0 when it came back.
        ejections: how many there were in a row.
    """

    kind: EventKind
    port: ServicePort
    subset: str
    endpoint: Endpoint
    reason: str
    seconds: float
    ejections: int
