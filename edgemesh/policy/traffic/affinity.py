"""``sessionAffinity: ClientIP``: which endpoint a client's last call went to."""

from __future__ import annotations

from edgemesh.policy.traffic.endpoint_state import EndpointState


class Affinity:
    """Clients by address, up to a number; the one that called longest ago gives way."""

    __slots__ = ("_clients", "_max_clients")

    def __init__(self, max_clients: int) -> None:
        """Remember nobody yet."""
        self._max_clients = max_clients
        # The one that called longest ago first: dictionaries keep order.
        self._clients: dict[str, tuple[EndpointState, float]] = {}

    def last(self, client: str, now: float, seconds: float) -> EndpointState | None:
        """Where the client's last call went, if that was no longer than ``seconds`` ago."""
        found = self._clients.get(client)
        if found is None or now - found[1] > seconds:
            return None
        return found[0]

    def remember(self, client: str, state: EndpointState, now: float) -> None:
        """Note where the client's call goes now."""
        clients = self._clients
        clients.pop(client, None)
        clients[client] = (state, now)
        if len(clients) > self._max_clients:
            del clients[next(iter(clients))]
