"""From a Service object to the Service of the snapshot, in two steps.

The first needs the object alone and is done once; the second adds what other objects say and is
repeated whenever one of them changes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from edgemesh.model.policies import DEFAULT_POLICY, Balancing, Locality, Policy
from edgemesh.model.services import Service, ServicePort, Source, Transport
from edgemesh.policy.endpoint_groups import EndpointGroup, EndpointRecord, choose_endpoints
from edgemesh.policy.objects.authored import (
    Authored,
    LabelsOf,
    connection_routes_for,
    policy_for,
    routes_for,
    subsets_for,
)
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.protocol import declared_protocol
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.core import Service as ServiceView
from edgemesh.wire.kubernetes.core import ServiceSpec
from edgemesh.wire.quoting import quote

SOURCE_ANNOTATION = "edgemesh.io/source"
# Whoever sets it says that another proxy serves the Service.
OTHER_PROXY_LABEL = "service.edgemesh.kubeedge.io/service-proxy-name"
_DISTRIBUTIONS = {
    "PreferClose": Locality.PREFER_ZONE,
    "PreferSameZone": Locality.PREFER_ZONE,
    "PreferSameNode": Locality.PREFER_NODE,
}


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What a Service object alone says.

    Args:
        service: without endpoints, its ports with the policy that it asks for itself.
        intercepted: whether its addresses are ours to answer.
        problems: fields that are not understood and were passed over.
    """

    service: Service
    intercepted: bool
    problems: tuple[str, ...]


class Surroundings(NamedTuple):
    """What other objects say that a Service depends on.

    Args:
        zones: of Nodes, by name.
        labels: of a Pod, by ``namespace/name``; none when it is not known.
        weights: of Pods that have one of their own, by ``namespace/name``.
        neighbours: Services that routes may lead to.
    """

    zones: Mapping[str, str]
    labels: LabelsOf
    weights: Mapping[str, int]
    neighbours: Neighbours


def record_service(view: ServiceView, default_source: Source) -> ServiceRecord:
    """The record of a Service object.

    Args:
        view: the object.
        default_source: where its annotation does not say which address endpoints see.
    """
    metadata, spec = view.metadata, view.spec
    external = spec.type == "ExternalName"
    addressed = not external and not view.headless
    source, source_problem = _source(metadata.annotations, default_source)
    policy, policy_problem = _policy(spec)
    service = Service(
        namespace=sys.intern(metadata.namespace),
        name=sys.intern(metadata.name),
        type=spec.type,
        cluster_addresses=spec.cluster_addresses if addressed else (),
        other_addresses=_other_addresses(view) if addressed else (),
        headless=view.headless,
        external_name=spec.external_name if external else "",
        publish_not_ready=spec.publish_not_ready_addresses,
        ports=_ports(view, source, policy),
    )
    problems = tuple(filter(None, (source_problem, policy_problem)))
    return ServiceRecord(service, OTHER_PROXY_LABEL not in metadata.labels, problems)


def complete_service(
    service: Service, groups: Sequence[EndpointGroup], said: Authored, around: Surroundings
) -> Service:
    """The Service with its endpoints and the policies for them.

    Args:
        service: of a record.
        groups: where it is served; ports are matched by name and transport.
        said: what policy objects say about it.
        around: see there.
    """
    publish = service.publish_not_ready
    if service.headless and not service.ports:
        everyone = ((record, 0) for group in groups for record in group.endpoints)
        chosen = choose_endpoints(everyone, around.zones, around.weights, publish=publish)
        return replace(service, portless_endpoints=chosen)
    ports = []
    for port in service.ports:
        candidates = _serving(port, groups)
        endpoints = choose_endpoints(candidates, around.zones, around.weights, publish=publish)
        served = replace(
            port,
            policy=policy_for(port, said),
            endpoints=endpoints,
            subsets=subsets_for(port, endpoints, said, around.labels),
        )
        routes = routes_for(served, said, around.neighbours)
        connection_routes = connection_routes_for(served, said, around.neighbours)
        if routes or connection_routes:
            served = replace(served, routes=routes, connection_routes=connection_routes)
        ports.append(served)
    return replace(service, ports=tuple(ports))


def _serving(
    port: ServicePort, groups: Iterable[EndpointGroup]
) -> Iterator[tuple[EndpointRecord, int]]:
    """The endpoints of a Service port, with their own port's number."""
    for group in groups:
        for name, protocol, number in group.ports:
            if name == port.name and protocol == port.transport:
                for record in group.endpoints:
                    yield record, number


def _ports(view: ServiceView, source: Source, policy: Policy) -> tuple[ServicePort, ...]:
    """Without those of SCTP, which is not intercepted."""
    return tuple(
        ServicePort(
            namespace=sys.intern(view.metadata.namespace),
            service=sys.intern(view.metadata.name),
            name=sys.intern(port.name),
            transport=Transport(port.protocol),
            port=port.port,
            node_port=port.node_port,
            application_protocol=declared_protocol(port.app_protocol, port.name),
            source=source,
            policy=policy,
        )
        for port in view.spec.ports
        if port.protocol != "SCTP"
    )


def _policy(spec: ServiceSpec) -> tuple[Policy, str]:
    """What the Service itself says about its calls, and the problem with it if there is one.

    ``internalTrafficPolicy: Local`` is strict, ``trafficDistribution`` a preference (KEP-4444,
    KEP-3015).
    """
    distribution = spec.traffic_distribution
    locality = _DISTRIBUTIONS.get(distribution, Locality.ANY)
    if spec.internal_traffic_policy == "Local":
        locality = Locality.NODE_ONLY
    client_ip = spec.session_affinity == "ClientIP"
    affinity = spec.session_affinity_config.client_ip.timeout_seconds if client_ip else 0
    balancing = Balancing(affinity_seconds=affinity, locality=locality)
    problem = ""
    if distribution and distribution not in _DISTRIBUTIONS:
        expected = " or ".join(_DISTRIBUTIONS)
        problem = f"spec.trafficDistribution: expected {expected}, got {quote(distribution)}"
    if balancing == DEFAULT_POLICY.balancing:
        return DEFAULT_POLICY, problem
    return Policy(balancing=balancing), problem


def _other_addresses(view: ServiceView) -> tuple[str, ...]:
    ingress = (entry.ip for entry in view.status.load_balancer.ingress if entry.ip)
    texts = (*view.spec.external_ips, *ingress)
    return tuple(dict.fromkeys(canonical_address(text) for text in texts))


def _source(annotations: Mapping[str, str], default: Source) -> tuple[Source, str]:
    """Which client address endpoints see, and the problem with the annotation if there is one."""
    word = annotations.get(SOURCE_ANNOTATION)
    if word is None:
        return default, ""
    if word in list(Source):
        return Source(word), ""
    where = f"metadata.annotations[{quote(SOURCE_ANNOTATION)}]"
    return default, f"{where}: expected {' or '.join(Source)}, got {quote(word)}"
