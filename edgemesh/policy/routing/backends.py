"""Which of a route's backends takes a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgemesh.model.routes import Backend, Route

NO_WEIGHT: Final = Backend("", "", 0, weight=0, problem="every backend of the route has weight 0")


def pick_backend(route: Route, random: Callable[[], float]) -> Backend | None:
    """Choose a backend, each with the probability of its share of the weights.

    Args:
        route: see there.
        random: gives a number in [0, 1).

    Returns:
        None when the route names no backends: it means the Service port that was called. One
        with a ``problem`` is answered with 500, such as NO_WEIGHT when there is nothing to choose.
    """
    backends = route.backends
    if not backends:
        return None
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
