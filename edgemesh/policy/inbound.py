"""Endpoints of this node as calls see them that reach them at their own address.

Such a call comes from another node's agent, which has chosen the endpoint, or from a client that
knows the endpoint by itself. What the caller's side decides (routes, balancing, client quota,
breaker, retries, a request's deadline) is decided already, or was never asked for; what is left
is what the Service lets through to its servers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgemesh.model.policies import Policy, Timeouts
from edgemesh.model.services import Service, ServicePort, Source, Transport


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
                yield ServicePort(
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
