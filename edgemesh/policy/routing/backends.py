"""Which of a route's backends takes a call, and where that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgemesh.model.routes import Backend, Route
from edgemesh.model.services import ServicePort, Snapshot

NO_WEIGHT: Final = Backend("", "", 0, weight=0, problem="every backend of the route has weight 0")


def pick_backend(route: Route, random: Callable[[], float]) -> Backend | None:
    """Choose a backend for a request; None when it means the Service port that was called.

    Args:
        route: see there.
        random: gives a number in [0, 1).
    """
    return by_weight(route.backends, random) if route.backends else None


def by_weight(backends: Sequence[Backend], random: Callable[[], float]) -> Backend:
    """Choose a backend, each with the probability of its share of the weights.

    Args:
        backends: one or more.
        random: gives a number in [0, 1).

    Returns:
        One with a ``problem`` is for calls that are refused, such as NO_WEIGHT when there is
        nothing to choose.
    """
    if len(backends) == 1:
        return backends[0] if backends[0].weight > 0 else NO_WEIGHT
    left = random() * sum([backend.weight for backend in backends])
    chosen = NO_WEIGHT
    for backend in backends:
        if backend.weight > 0:
            chosen = backend
            left -= backend.weight
            if left < 0:
                break
    return chosen


def backend_port(backend: Backend, called: ServicePort, snapshot: Snapshot) -> ServicePort | None:
    """The Service port that a backend is; None when it cannot be used, or is not there.

    Args:
        backend: see there.
        called: the port whose route it belongs to.
        snapshot: see there.
    """
    if backend.problem:
        return None
    if not backend.service:
        return called
    number = backend.port or called.port
    return snapshot.ports.get((backend.namespace, backend.service, called.transport, number))
