"""From a Service object to the Service of the snapshot, in two steps.

The first needs the object alone and is done once; the second adds what other objects say and is
repeated whenever one of them changes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgemesh.model.policies import Balance, Balancing, Policy
from edgemesh.model.services import Service, ServicePort, Source, Transport
from edgemesh.policy.endpoint_groups import EndpointGroup, EndpointRecord, choose_endpoints
from edgemesh.policy.protocol import declared_protocol
from edgemesh.wire.addresses import canonical_address
from edgemesh.wire.kubernetes.core import Service as ServiceView
from edgemesh.wire.quoting import quote

SOURCE_ANNOTATION = "edgemesh.io/source"
# Whoever sets it says that another proxy serves the Service.
OTHER_PROXY_LABEL = "service.edgemesh.kubeedge.io/service-proxy-name"


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """What a Service object alone says.

    Args:
        service: without endpoints, its ports balanced by default.
        intercepted: whether its addresses are ours to answer.
        problem: a field that is not understood and was passed over, "" when there is none.
    """

    service: Service
    intercepted: bool
    problem: str


def record_service(view: ServiceView, default_source: Source) -> ServiceRecord:
    """The record of a Service object.

    Args:
        view: the object.
        default_source: where its annotation does not say which address endpoints see.
    """
    metadata, spec = view.metadata, view.spec
    external = spec.type == "ExternalName"
    addressed = not external and not view.headless
    source, problem = _source(metadata.annotations, default_source)
    service = Service(
        namespace=sys.intern(metadata.namespace),
        name=sys.intern(metadata.name),
        type=spec.type,
        cluster_addresses=spec.cluster_addresses if addressed else (),
        other_addresses=_other_addresses(view) if addressed else (),
        headless=view.headless,
        external_name=spec.external_name if external else "",
        publish_not_ready=spec.publish_not_ready_addresses,
        ports=_ports(view, source),
    )
    return ServiceRecord(service, OTHER_PROXY_LABEL not in metadata.labels, problem)


def complete_service(
    service: Service,
    groups: Sequence[EndpointGroup],
    zones: Mapping[str, str],
    balance: Balance,
) -> Service:
    """The Service with its endpoints.

    Args:
        service: of a record.
        groups: where it is served; ports are matched by name and transport.
        zones: of Nodes, by name.
        balance: how its endpoints are chosen.
    """
    publish = service.publish_not_ready
    ports = tuple(
        replace(
            port,
            policy=Policy(balancing=Balancing(balance)),
            endpoints=choose_endpoints(_serving(port, groups), zones, publish=publish),
        )
        for port in service.ports
    )
    if ports or not service.headless:
        return replace(service, ports=ports)
    everyone = ((record, 0) for group in groups for record in group.endpoints)
    return replace(service, portless_endpoints=choose_endpoints(everyone, zones, publish=publish))


def _serving(
    port: ServicePort, groups: Iterable[EndpointGroup]
) -> Iterator[tuple[EndpointRecord, int]]:
    """The endpoints of a Service port, with their own port's number."""
    for group in groups:
        for name, protocol, number in group.ports:
            if name == port.name and protocol == port.transport:
                for record in group.endpoints:
                    yield record, number


def _ports(view: ServiceView, source: Source) -> tuple[ServicePort, ...]:
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
        )
        for port in view.spec.ports
        if port.protocol != "SCTP"
    )


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
