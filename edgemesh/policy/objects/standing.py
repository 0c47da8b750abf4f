"""Where each policy object is in force, and why it is not where it might be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from edgemesh.model.paths import AvailablePaths
from edgemesh.model.policies import Observe, Path
from edgemesh.model.routes import ConnectionRoute, Route
from edgemesh.model.services import Service, ServiceName, ServicePort
from edgemesh.policy.objects.authored import (
    Authored,
    connection_routes_of,
    is_usable,
    request_routes_of,
)
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.objects.conditions import Hindrance, Standing
from edgemesh.policy.objects.gateway_references import service_parents
from edgemesh.policy.objects.traffic_policies import concerns, in_force
from edgemesh.policy.observation import asks_to_observe
from edgemesh.policy.paths import choose_path
from edgemesh.wire.kubernetes.gateway_api.connection_routes import TCPRoute, TLSRoute
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute
from edgemesh.wire.kubernetes.gateway_api.http_route import HTTPRoute
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule
from edgemesh.wire.kubernetes.istio.virtual_service import MESH, VirtualService
from edgemesh.wire.kubernetes.tolerant import PolicyObject
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

# Where the protocol is found out from what is said, it may be HTTP.
_HTTP = frozenset({"", "http", "http2", "grpc"})


class Target(NamedTuple):
    """A Service that an object is about.

    Args:
        service: complete.
        said: about it, by this object and others.
    """

    service: Service
    said: Authored


def standing_of(
    view: PolicyObject,
    named: Iterable[ServiceName],
    targets: Sequence[Target],
    neighbours: Neighbours,
    available: AvailablePaths,
) -> Standing:
    """How an object stands.

    Args:
        view: the object.
        named: the Services that it is about.
        targets: those of them that are there.
        neighbours: Services that its routes may lead to.
        available: paths that work on this node.
    """
    missing = _missing(named)
    match view:
        case TrafficPolicy():
            return _standing_of_policy(view, missing, targets, available)
        case DestinationRule():
            return _standing_of_rule(view, missing, targets)
        case HTTPRoute() | GRPCRoute() | TLSRoute() | TCPRoute():
            return _standing_of_gateway_route(view, missing, targets, neighbours)
    assert isinstance(view, VirtualService)
    return _standing_of_virtual_service(view, missing, targets, neighbours)


def _missing(named: Iterable[ServiceName]) -> Hindrance:
    names = " or ".join(f"{namespace}/{name}" for namespace, name in sorted(named))
    return Hindrance("TargetNotFound", f"Service {names} not found")


def _standing_of_policy(
    policy: TrafficPolicy,
    missing: Hindrance,
    targets: Sequence[Target],
    available: AvailablePaths,
) -> Standing:
    ports: list[ServicePort] = []
    hindrance = missing
    for target in targets:
        hindrance = Hindrance("TargetNotFound", f"{_shown(target.service)} has no such port")
        for port in target.service.ports:
            counting = in_force(target.said.policies, port)
            if any(each is policy for each in counting):
                ports.append(port)
            elif concerns(policy.spec.target_ref, port):
                hindrance = _overruled(counting[0])
    asked = policy.spec.path
    paths = _other_paths(asked, ports, available) if asked else None
    if policy.spec.observe is Observe.HTTP:
        paths = [*(paths or ()), *_unobserved(ports)]
    return Standing([*map(str, ports)], None if ports else hindrance, paths=paths)


def _other_paths(
    asked: Path, ports: Sequence[ServicePort], available: AvailablePaths
) -> Sequence[str]:
    """The ports that take another path than the one that was asked for, and why."""
    choices = [choose_path(port, port.application_protocol, available) for port in ports]
    return [
        f"{port} takes {choice.path}: {choice.reason}"
        for port, choice in zip(ports, choices, strict=True)
        if asked not in {Path.AUTO, choice.path}
    ]


def _unobserved(ports: Sequence[ServicePort]) -> Iterator[str]:
    """The ports whose requests nobody counts though that was asked for, and why."""
    for port in ports:
        if not asks_to_observe(port):
            yield f"{port} is not observed: it takes no TCP by path splice"
        elif port.application_protocol not in _HTTP:
            yield f"{port} is not observed: it declares {port.application_protocol}"


def _standing_of_rule(
    rule: DestinationRule, missing: Hindrance, targets: Sequence[Target]
) -> Standing:
    ports: list[str] = []
    hindrance = missing
    for target in targets:
        counting = target.said.rule
        # This one is about the Service, so there is one that counts.
        assert counting is not None
        if counting is rule:
            ports += map(str, target.service.ports)
            hindrance = Hindrance("TargetNotFound", f"{_shown(target.service)} has no ports")
        else:
            hindrance = _overruled(counting)
    return Standing(ports, None if ports else hindrance)


def _standing_of_gateway_route(
    route: HTTPRoute | GRPCRoute | TLSRoute | TCPRoute,
    missing: Hindrance,
    targets: Sequence[Target],
    neighbours: Neighbours,
) -> Standing:
    parents = route.spec.parent_refs
    if not service_parents(parents):
        what = ", ".join(f"{each.kind} {each.name}" for each in parents) or "none"
        message = f"spec.parentRefs: expected a parent of kind Service, got {what}"
        return Standing((), Hindrance("NoMatchingParent", message), ())

    def routes(port: ServicePort) -> Sequence[Route | ConnectionRoute]:
        if isinstance(route, HTTPRoute | GRPCRoute):
            return request_routes_of(route, port, neighbours)
        return connection_routes_of(route, port, neighbours)

    return _standing_of_routes(routes, missing, targets)


def _standing_of_virtual_service(
    virtual: VirtualService, missing: Hindrance, targets: Sequence[Target], neighbours: Neighbours
) -> Standing:
    if MESH not in virtual.spec.gateways:
        hindrance = Hindrance("NoMatchingParent", "spec.gateways: the mesh is not among them")
        return Standing((), hindrance, ())

    def routes(port: ServicePort) -> Sequence[Route | ConnectionRoute]:
        return (
            *request_routes_of(virtual, port, neighbours),
            *connection_routes_of(virtual, port, neighbours),
        )

    return _standing_of_routes(routes, missing, targets)


def _standing_of_routes(
    routes_at: Callable[[ServicePort], Sequence[Route | ConnectionRoute]],
    missing: Hindrance,
    targets: Sequence[Target],
) -> Standing:
    ports: list[str] = []
    problems: dict[str, None] = {}
    hindrance = missing
    for port in (port for target in targets for port in target.service.ports):
        listed = routes_at(port)
        routes = [route for route in listed if is_usable(route, port)]
        if not listed:
            hindrance = Hindrance("NoMatchingParent", f"no rule of it is for {port}")
        elif not routes:
            protocol = port.application_protocol or port.transport
            hindrance = Hindrance("UnsupportedProtocol", f"{port} declares {protocol}")
        else:
            ports.append(str(port))
            problems |= {
                f"{route.key}: {backend.problem}": None
                for route in routes
                for backend in route.backends
                if backend.problem
            }
    return Standing(ports, None if ports else hindrance, tuple(problems))


def _overruled(by: PolicyObject) -> Hindrance:
    metadata = by.metadata
    name = f"{type(by).__name__} {metadata.namespace}/{metadata.name}"
    return Hindrance("Conflicted", f"{name} is in force instead")


def _shown(service: Service) -> str:
    return f"Service {service.namespace}/{service.name}"
