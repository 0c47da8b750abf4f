"""GRPCRoutes: the routes that each is at the Service ports that it is attached to.

A gRPC call is a request for the path ``/package.Service/Method``.

Source: https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgemesh.model.routes import Comparison, Route, TextMatch
from edgemesh.model.services import ServicePort
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.objects.gateway_requests import header_conditions, route_of_rule, scope_of
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GrpcMatch, GRPCRoute, MethodMatch


def routes_of(route: GRPCRoute, port: ServicePort, neighbours: Neighbours) -> tuple[Route, ...]:
    """The routes of a GRPCRoute at a port; none when it is not attached there.

    Args:
        route: the object.
        port: with its policy.
        neighbours: see there.
    """
    return tuple(_routes(route, port, neighbours))


def _routes(route: GRPCRoute, port: ServicePort, neighbours: Neighbours) -> Iterator[Route]:
    scope = scope_of(route, port)
    if scope is None:
        return
    for index, rule in enumerate(route.spec.rules):
        common = route_of_rule(route, rule, neighbours, index=index)
        for match in rule.matches or (GrpcMatch(),):
            conditions = replace(
                scope,
                path=_path(match.method) if match.method else None,
                headers=header_conditions(match.headers),
            )
            yield replace(common, match=conditions)


def _path(match: MethodMatch) -> TextMatch:
    if match.type == "Exact" and match.service:
        if match.method:
            return TextMatch(Comparison.EXACT, f"/{match.service}/{match.method}")
        return TextMatch(Comparison.PREFIX, f"/{match.service}")
    return TextMatch(Comparison.REGEX, match.path_pattern)
