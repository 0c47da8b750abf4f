"""After an Upgrade (RFC 9110 section 7.8) the connection is no longer HTTP: bytes, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgemesh.proxy.forward.relay import relay

if TYPE_CHECKING:
    from edgemesh.proxy.flow import Flow
    from edgemesh.proxy.http.exchange import Exchange
    from edgemesh.proxy.http1.upstream import UpstreamConnection


def tunnel(
    flow: Flow,
    exchange: Exchange,
    upstream: UpstreamConnection,
    for_client: bytes | memoryview,
    for_endpoint: bytes | memoryview,
) -> None:
    """Copy bytes from now on; the exchange lasts as long as the tunnel.

    Args:
        flow: the client's; it gets the endpoint's socket.
        exchange: of the request that asked for it.
        upstream: the connection that it was granted on.
        for_client: what was read of the endpoint, and is not passed on yet.
        for_endpoint: the same for the other direction.
    """

    def over() -> None:
        exchange.finish()
        upstream.released()

    flow.upstream = upstream.leave()
    relay(flow, for_client, for_endpoint, over)
