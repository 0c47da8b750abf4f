"""Endpoints of this node as calls see them that reach them at their own address.

Such a call comes from another node's agent, which has chosen the endpoint, by a stream or by
itself, or from a client that knows the endpoint. What the caller's side decides (routes,
balancing, client quota, breaker, retries, a request's deadline) is decided already, or was never
asked for; what is left is what the Service lets through to its servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgemesh.model.policies import Path, Policy, Timeouts
from edgemesh.model.services import Endpoint, Service, ServicePort, Source, Transport

# Streams have no sockets that the kernel could move bytes between.
_KERNELS = frozenset({Path.CONNECT, Path.SPLICE})


def inbound_ports(service: Service, node: str, source: Source) -> Iterator[ServicePort]:
    """The ports of a Service at each of a node's endpoints where its servers are limited.

    Args:
        service: complete.
        node: "" when it is not known; then no endpoint is this node's.
        source: which client address the endpoints see.
    """
    if not node:
        return
    for port in service.ports:
        if not _limits_servers(port):
            continue
        policy = _servers_policy(port.policy)
        for endpoint in port.endpoints:
            if endpoint.node == node:
                yield _view(port, endpoint, policy, source, by_stream=False)


def stream_port(port: ServicePort, endpoint: Endpoint) -> ServicePort:
    """A port as calls see it that other ends of the mesh bring by streams to one endpoint.

    Without limits the bytes are all that matters. The endpoint sees this node's address: answers
    to a client's own would not find their way back here.

    Args:
        port: of the Service.
        endpoint: of this node.
    """
    policy = _servers_policy(port.policy)
    if not _limits_servers(port):
        policy = replace(policy, path=Path.RELAY)
    elif policy.path in _KERNELS:
        policy = replace(policy, path=Path.AUTO)
    return _view(port, endpoint, policy, Source.NODE, by_stream=True)


def _view(
    port: ServicePort, endpoint: Endpoint, policy: Policy, source: Source, *, by_stream: bool
) -> ServicePort:
    return ServicePort(
        namespace=port.namespace,
        service=port.service,
        name=port.name,
        transport=port.transport,
        port=port.port,
        application_protocol=port.application_protocol,
        policy=policy,
        source=source,
        # Weights are for those who choose.
        endpoints=(replace(endpoint, weight=1),),
        inbound=True,
        by_stream=by_stream,
    )


def _limits_servers(port: ServicePort) -> bool:
    limits = port.policy.server
    # Datagrams are over at once: there is no number of them at a time.
    at_a_time = limits.max_concurrent if port.transport is Transport.TCP else 0
    return limits.quota is not None or at_a_time > 0


def _servers_policy(policy: Policy) -> Policy:
    # A request's deadline is the caller's: a route there may allow more than the policy.
    timeouts = Timeouts(policy.timeouts.connect, 0.0, policy.timeouts.idle)
    return Policy(path=policy.path, server=policy.server, timeouts=timeouts)
