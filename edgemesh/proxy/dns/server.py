"""The resolver as one long-lived task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from edgemesh.model.errors import OperatorError
from edgemesh.model.services import Snapshot
from edgemesh.model.settings import DnsSettings
from edgemesh.policy.zone import Zone
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.dns.listeners import DnsListener, open_listeners
from edgemesh.proxy.dns.resolver import Resolver
from edgemesh.proxy.dns.responder import Responder
from edgemesh.proxy.dns.servers import UpstreamServers, listen_addresses
from edgemesh.proxy.dns.tcp import StreamServer
from edgemesh.proxy.dns.udp import serve_datagrams
from edgemesh.wire.dns.names import FormatError


async def serve_dns(
    settings: DnsSettings,
    snapshot: Callable[[], Snapshot],
    *,
    mark: int = 0,
    counters: DnsCounters | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on every address of ``settings.listen``, over UDP and TCP, until cancelled.

    Started once every address is bound. The node has to have the addresses by then.

    Args:
        settings: all of DNS.
        snapshot: gives the snapshot in force; a name that it lacks does not exist, so it has to
            hold the node's Services from the first question on.
        mark: SO_MARK of the sockets that ask upstream servers; 0 for none.
        counters: counted up as things happen.
        task_status: told when questions are answered.

    Raises:
        OperatorError: an address or the domain in the settings cannot be used.

    Ownership: opens and closes all its sockets.

    Cancellation: at once; clients that wait get no answer and ask again.
    """
    counts = DnsCounters() if counters is None else counters
    zone = _zone(settings)
    servers = UpstreamServers(settings)
    with open_listeners(listen_addresses(settings)) as listeners:
        async with trio.open_nursery() as nursery:
            await nursery.start(servers.follow)
            resolver = Resolver(settings, servers, nursery, mark=mark, counters=counts)
            responder = Responder(settings, zone, snapshot, resolver, counts)
            streams = StreamServer(settings, responder)
            for listener in listeners:
                nursery.start_soon(_serve, listener, responder, streams, counts)
            task_status.started()


async def _serve(
    listener: DnsListener, responder: Responder, streams: StreamServer, counters: DnsCounters
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_datagrams, listener.datagrams, responder, counters)
        nursery.start_soon(partial(trio.serve_listeners, streams.serve, [listener.connections]))


def _zone(settings: DnsSettings) -> Zone:
    try:
        return Zone.of(settings.domain, settings.ttl_seconds, settings.negative_ttl_seconds)
    except FormatError as error:
        raise OperatorError(f"dns.domain: {error}") from error
