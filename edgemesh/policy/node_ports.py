"""Node ports for Services that are applied where no cluster gives them any.

Like addresses they are computed from the Service's name.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from edgemesh.model.errors import OperatorError
from edgemesh.model.services import NodePort, Transport
from edgemesh.policy.allocation import probe
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.core import Service, ServicePort


def fill_node_ports(
    service: Mapping[str, Any],
    numbers: range,
    taken: Container[NodePort],
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Service with a node port for each port that needs one and names none.

    Args:
        service: the body of a Service, its namespace filled in.
        numbers: where node ports are taken from.
        taken: node ports that other Services have.
        previous: the body that this one replaces; its node ports are kept.

    Raises:
        OperatorError: none is free, or one that it names is another's.
        FieldError: the Service is not valid.
    """
    view = decode_as(Service, service)
    if not _needs_node_ports(view):
        return dict(service)
    namespace, name = view.metadata.namespace, view.metadata.name
    given = _node_ports(view)
    for node_port in given.values():
        if node_port in taken:
            problem = f"node port {node_port.port} is another Service's"
            raise OperatorError(f"Service {namespace}/{name}: {problem}")
    kept = _node_ports(decode_as(Service, previous)) if previous else {}
    used = _Used(taken, set(given.values()))
    ports = []
    for body, port in zip(service["spec"]["ports"], view.spec.ports, strict=True):
        own = _own_port(port)
        if own is None or own in given:
            ports.append(body)
            continue
        number = _kept_number(kept.get(own), used)
        if not number:
            number = allocate_node_port(namespace, name, own, numbers, used)
        used.own.add(NodePort(own.transport, number))
        ports.append({**body, "nodePort": number})
    return {**service, "spec": {**service["spec"], "ports": ports}}


def _kept_number(node_port: NodePort | None, used: Container[NodePort]) -> int:
    return 0 if node_port is None or node_port in used else node_port.port


def allocate_node_port(
    namespace: str, name: str, port: NodePort, numbers: range, taken: Container[NodePort]
) -> int:
    """The node port of one Service port: TCP and UDP of one number get the same where free.

    Args:
        namespace: of the Service.
        name: of the Service.
        port: transport and number of the Service's own port.
        numbers: where it is taken from.
        taken: node ports that are in use.

    Raises:
        OperatorError: none is free.
    """
    found = probe(
        f"{namespace}/{name}:{port.port}",
        len(numbers),
        lambda offset: NodePort(port.transport, numbers[offset]),
        taken,
    )
    if found is None:
        raise OperatorError(
            f"Service {namespace}/{name}: no {port.transport} node port is free"
            f" from {numbers[0]} to {numbers[-1]}"
        )
    return found.port


class _Used:
    """Node ports of other Services, and those that this one has by now."""

    def __init__(self, others: Container[NodePort], own: set[NodePort]) -> None:
        self.others = others
        self.own = own

    def __contains__(self, value: object) -> bool:
        return value in self.own or value in self.others


def _needs_node_ports(service: Service) -> bool:
    spec = service.spec
    if spec.type == "LoadBalancer":
        return spec.allocate_load_balancer_node_ports
    return spec.type == "NodePort"


def _own_port(port: ServicePort) -> NodePort | None:
    """Transport and number of a Service port; None for SCTP, which is not intercepted."""
    if port.protocol == "SCTP":
        return None
    return NodePort(Transport(port.protocol), port.port)


def _node_ports(service: Service) -> dict[NodePort, NodePort]:
    """The node ports that a Service names, by transport and number of its own ports."""
    return {
        own: NodePort(own.transport, port.node_port)
        for port in service.spec.ports
        if port.node_port and (own := _own_port(port))
    }
