"""POLICIES.md names every field that policy objects may have here, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edgemesh.wire.kubernetes.gateway_api.connection_routes import TCPRoute, TLSRoute
from edgemesh.wire.kubernetes.gateway_api.grpc_route import GRPCRoute
from edgemesh.wire.kubernetes.gateway_api.http_route import HTTPRoute
from edgemesh.wire.kubernetes.gateway_api.reference_grant import ReferenceGrant
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule
from edgemesh.wire.kubernetes.istio.virtual_service import VirtualService
from edgemesh.wire.kubernetes.tolerant import PolicyView
from edgemesh.wire.kubernetes.traffic_policy import TrafficPolicy

TEXT = (Path(__file__).parents[2] / "POLICIES.md").read_text()
KINDS = [
    TrafficPolicy,
    DestinationRule,
    VirtualService,
    HTTPRoute,
    GRPCRoute,
    TLSRoute,
    TCPRoute,
    ReferenceGrant,
]


def section(kind: type[Any]) -> str:
    """The part of the document about a kind."""
    [found] = [part for part in TEXT.split("\n## ") if kind.__name__ in part.partition("\n")[0]]
    return found


def words(text: str) -> set[str]:
    """Everything that is written as code, one field at a time."""
    return {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"[\w-]+", code)}


def views(kind: Any) -> Iterator[type[PolicyView]]:
    """The views that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, PolicyView):
        yield kind
        for info in msgspec.structs.fields(kind):
            yield from views(info.type)
    for inner in get_args(kind):
        yield from views(inner)


def fields(kind: type[Any]) -> set[str]:
    """Every field below ``spec``."""
    spec = next(info.type for info in msgspec.structs.fields(kind) if info.name == "spec")
    return {info.encode_name for view in views(spec) for info in msgspec.structs.fields(view)}


def unsupported(kind: type[Any]) -> set[str]:
    return set().union(*(view.unsupported for view in views(kind)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_is_named(kind: type[Any]) -> None:
    assert fields(kind) - words(section(kind)) == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_not_supported_is_named_as_such_and_nothing_else(kind: type[Any]) -> None:
    told = section(kind).partition("Not supported:")[2]
    found = unsupported(kind)
    assert found - words(told) == set()
    assert (fields(kind) - found).isdisjoint(words(told))
