"""From the body of an object to its view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from edgemesh.model.kinds import Kind, find_kind
from edgemesh.wire.kubernetes import core, endpoints, istio, pods, service_checks, workloads
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.metadata import GenericObject, ObjectView
from edgemesh.wire.kubernetes.reasons import explain
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
        istio.DestinationRule,
    )
}
_CHECKS: dict[str, Callable[[Any], None]] = {
    "Service": service_checks.check_service,
    "Pod": pods.check_pod,
    "Endpoints": endpoints.check_endpoints,
    "EndpointSlice": endpoints.check_endpoint_slice,
}
# Deeper than any field of a view, shallower than any stack.
_VIEW_DEPTH = 24


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


def decode(body: Mapping[str, Any]) -> ObjectView:
    """The typed view of an object, by its kind; a ``GenericObject`` for kinds without their own.

    A field that is null counts as absent, as in the Kubernetes API.

    Args:
        body: the whole object as JSON values.

    Raises:
        FieldError: naming the first field that is wrong, and its value.
    """
    kind = kind_of(body).name
    view = _VIEWS.get(kind, GenericObject)
    value = _convert(body, view)
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


def _convert(body: Mapping[str, Any], view: type[ObjectView]) -> ObjectView:
    try:
        return msgspec.convert(body, view)
    except msgspec.ValidationError:
        # Nulls are rare, so they are taken out only where they may be the reason.
        plain = _without_nulls(body, _VIEW_DEPTH)
    try:
        return msgspec.convert(plain, view)
    except msgspec.ValidationError as error:
        raise explain(str(error), plain, view) from None


def _without_nulls(value: Any, depth: int) -> Any:
    if depth and isinstance(value, Mapping):
        return {
            key: _without_nulls(item, depth - 1) for key, item in value.items() if item is not None
        }
    if depth and isinstance(value, list):
        return [_without_nulls(item, depth - 1) for item in value]
    return value


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if value is None:
        raise FieldError(field, "required, but missing")
    if not isinstance(value, str):
        raise FieldError(field, f"expected a string, got {quote(value)}")
    return value
