"""From the body of an object to its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from edgemesh.model.kinds import Kind, find_kind
from edgemesh.wire.kubernetes import (
    core,
    endpoints,
    pods,
    router_objects,
    service_checks,
    traffic_policy,
    workloads,
)
from edgemesh.wire.kubernetes.conversion import convert
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.gateway_api import (
    connection_routes,
    grpc_route,
    http_route,
    reference_grant,
)
from edgemesh.wire.kubernetes.istio import destination_rule, virtual_service
from edgemesh.wire.kubernetes.metadata import GenericObject, ObjectView
from edgemesh.wire.kubernetes.tolerant import FieldProblem, PolicyObject, read_tolerantly
from edgemesh.wire.quoting import quote

ViewT = TypeVar("ViewT", bound=ObjectView)

_VIEWS: dict[str, type[ObjectView]] = {
    view.__name__: view
    for view in (
        core.Namespace,
        core.Node,
        core.Service,
        pods.Pod,
        endpoints.Endpoints,
        endpoints.EndpointSlice,
        workloads.Deployment,
        workloads.DaemonSet,
        workloads.StatefulSet,
        router_objects.Rule,
        router_objects.RuleEndpoint,
    )
}
_POLICY_VIEWS: dict[str, type[PolicyObject]] = {
    view.__name__: view
    for view in (
        destination_rule.DestinationRule,
        virtual_service.VirtualService,
        http_route.HTTPRoute,
        grpc_route.GRPCRoute,
        connection_routes.TLSRoute,
        connection_routes.TCPRoute,
        reference_grant.ReferenceGrant,
        traffic_policy.TrafficPolicy,
    )
}
# Fields of every object; what its status says, we say ourselves.
_NO_CONTENT = frozenset({"apiVersion", "kind", "status"})
_CHECKS: dict[str, Callable[[Any], None]] = {
    "Service": service_checks.check_service,
    "Pod": pods.check_pod,
    "Endpoints": endpoints.check_endpoints,
    "EndpointSlice": endpoints.check_endpoint_slice,
    "Rule": router_objects.check_rule,
    "RuleEndpoint": router_objects.check_rule_endpoint,
}


def kind_of(body: Mapping[str, Any]) -> Kind:
    """The kind of an object.

    Raises:
        FieldError: ``kind`` or ``apiVersion`` is missing, unknown or not text.
    """
    word = _text(body, "kind")
    kind = find_kind(word)
    if kind is None or kind.name != word:
        raise FieldError("kind", f"expected a kind that edgemesh keeps, got {quote(word)}")
    version = _text(body, "apiVersion")
    if version not in kind.api_versions:
        expected = " or ".join(kind.api_versions)
        raise FieldError("apiVersion", f"expected {expected} for {word}, got {quote(version)}")
    return kind


class Examined(NamedTuple):
    """An object and, of a policy object, what was passed over in it."""

    view: ObjectView
    problems: tuple[FieldProblem, ...] = ()


def decode(body: Mapping[str, Any]) -> ObjectView:
    """The typed view of an object, by its kind; a ``GenericObject`` for kinds without their own.

    A field that is null counts as absent, as in the Kubernetes API. Of a policy object what is
    wrong is passed over, as long as its name and its target are right: see `examine`.

    Args:
        body: the whole object as JSON values.

    Raises:
        FieldError: naming the first field that is wrong, and its value.
    """
    return examine(body).view


def examine(body: Mapping[str, Any]) -> Examined:
    """The same, with what was passed over.

    Raises:
        FieldError: naming the first field that is wrong, and its value.
    """
    kind = kind_of(body).name
    policy_view = _POLICY_VIEWS.get(kind)
    if policy_view is None:
        return Examined(_decode_strictly(body, kind))
    content = {name: value for name, value in body.items() if name not in _NO_CONTENT}
    return Examined(*read_tolerantly(content, policy_view))


def _decode_strictly(body: Mapping[str, Any], kind: str) -> ObjectView:
    value: ObjectView = convert(body, _VIEWS.get(kind, GenericObject))
    check = _CHECKS.get(kind)
    if check is not None:
        check(value)
    return value


def decode_as(view: type[ViewT], body: Mapping[str, Any]) -> ViewT:
    """The same, where only one kind will do.

    Raises:
        FieldError: it is of another kind, or a field is wrong.
    """
    value = decode(body)
    if not isinstance(value, view):
        raise FieldError("kind", f"expected {view.__name__}, got {quote(body['kind'])}")
    return value


def validate(body: Mapping[str, Any]) -> None:
    """Refuse an object that has no view.

    Raises:
        FieldError: naming the first field that is wrong, and its value.
    """
    decode(body)


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if value is None:
        raise FieldError(field, "required, but missing")
    if not isinstance(value, str):
        raise FieldError(field, f"expected a string, got {quote(value)}")
    return value
