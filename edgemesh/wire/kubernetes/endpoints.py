"""EndpointSlice (discovery.k8s.io/v1) and Endpoints (core/v1): where a Service is served."""

from __future__ import annotations

from typing import Literal

from edgemesh.wire.addresses import family_of
from edgemesh.wire.kubernetes.address_checks import check_address
from edgemesh.wire.kubernetes.fields import FieldError, LabelOrEmpty, Port, Protocol
from edgemesh.wire.kubernetes.metadata import ObjectView, View
from edgemesh.wire.quoting import quote


class ObjectReference(View, frozen=True, kw_only=True):
    """The object behind an endpoint, mostly a Pod."""

    kind: str = ""
    namespace: str = ""
    name: str = ""


class EndpointPort(View, frozen=True, kw_only=True):
    """A port of all endpoints beside it; ``port`` None means that none is told."""

    name: LabelOrEmpty = ""
    port: Port | None = None
    protocol: Protocol = "TCP"


class EndpointConditions(View, frozen=True, kw_only=True):
    """State of one endpoint; None is unknown, which ``ready`` and ``serving`` take for true."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(View, frozen=True, kw_only=True):
    """One endpoint; its addresses mean the same place."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: LabelOrEmpty = ""
    node_name: str = ""
    zone: str = ""
    target_ref: ObjectReference | None = None


class EndpointSlice(ObjectView, frozen=True, kw_only=True):
    """Some endpoints of one Service, of one address family."""

    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class EndpointAddress(View, frozen=True, kw_only=True):
    """One address of an Endpoints object."""

    ip: str
    hostname: LabelOrEmpty = ""
    node_name: str = ""
    target_ref: ObjectReference | None = None


class EndpointSubset(View, frozen=True, kw_only=True):
    """Every address of a subset serves every port of it."""

    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(ObjectView, frozen=True, kw_only=True):
    """All endpoints of the Service of the same name."""

    subsets: tuple[EndpointSubset, ...] = ()


def check_endpoint_slice(endpoint_slice: EndpointSlice) -> None:
    """Refuse addresses that are not of the slice's ``addressType``.

    Raises:
        FieldError: naming the first such address.
    """
    family = endpoint_slice.address_type
    if family == "FQDN":
        return
    for index, endpoint in enumerate(endpoint_slice.endpoints):
        for position, address in enumerate(endpoint.addresses):
            where = f"endpoints[{index}].addresses[{position}]"
            check_address(where, address)
            if family_of(address) != family:
                raise FieldError(where, f"expected an {family} address, got {quote(address)}")


def check_endpoints(endpoints: Endpoints) -> None:
    """Refuse what is not an address.

    Raises:
        FieldError: naming the first such address.
    """
    for index, subset in enumerate(endpoints.subsets):
        for word, addresses in (
            ("addresses", subset.addresses),
            ("notReadyAddresses", subset.not_ready_addresses),
        ):
            for position, address in enumerate(addresses):
                check_address(f"subsets[{index}].{word}[{position}].ip", address.ip)
