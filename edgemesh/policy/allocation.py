"""ClusterIPs for Services that are applied where no cluster gives them any.

They are computed from the Service's name, so that every node comes to the same ones from the
same manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from ipaddress import ip_network
from typing import Any, TypeVar

from edgemesh.model.errors import OperatorError
from edgemesh.wire.addresses import family_of
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.core import Service
from edgemesh.wire.kubernetes.fields import IpFamily

# Left to people: gateways, DNS and the like are given the first addresses by hand.
_RESERVED = 16
_FAMILIES: tuple[IpFamily, ...] = ("IPv4", "IPv6")
_DUAL_STACK = ("PreferDualStack", "RequireDualStack")

ValueT = TypeVar("ValueT")


def allocate_address(namespace: str, name: str, network: str, taken: Container[str]) -> str:
    """The ClusterIP of a Service: the one its name hashes to, or the next that is free.

    Args:
        namespace: of the Service.
        name: of the Service.
        network: CIDR of either family. Its first 16 addresses and its last one, which is the
            broadcast address in IPv4, are never given.
        taken: canonical addresses that other Services have.

    Raises:
        OperatorError: no address is free.
    """
    addresses = ip_network(network)
    size = addresses.num_addresses - _RESERVED - 1
    found = probe(
        f"{namespace}/{name}", size, lambda offset: str(addresses[_RESERVED + offset]), taken
    )
    if found is None:
        raise OperatorError(
            f"Service {namespace}/{name}: no address is free in {network}",
            "give the agents a larger meta.service_cidr",
        )
    return found


def fill_addresses(
    service: Mapping[str, Any],
    cidr4: str,
    cidr6: str,
    taken: Container[str],
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Service with its address fields filled in as Kubernetes' API server would.

    Addresses that it names stay; headless Services and ExternalName are returned as they are.

    Args:
        service: the body of a Service, its namespace filled in.
        cidr4: where IPv4 addresses are taken from.
        cidr6: where IPv6 addresses are taken from.
        taken: canonical addresses that other Services have.
        previous: the body that this one replaces; its addresses are kept.

    Raises:
        OperatorError: a network is full, or an address that it names is another's.
        FieldError: the Service is not valid.
    """
    view = decode_as(Service, service)
    if view.headless or view.spec.type == "ExternalName":
        return dict(service)
    namespace, name = view.metadata.namespace, view.metadata.name
    given = _addresses(view)
    for address in given.values():
        if address in taken:
            problem = f"address {address} is another Service's"
            raise OperatorError(f"Service {namespace}/{name}: {problem}")
    kept = _addresses(decode_as(Service, previous)) if previous else {}
    chosen = given | {
        family: address
        for family, address in kept.items()
        if family not in given and address not in taken
    }
    networks = {"IPv4": cidr4, "IPv6": cidr6}
    families = _families(view, given)
    addresses = [
        chosen.get(family) or allocate_address(namespace, name, networks[family], taken)
        for family in families
    ]
    stacks = "RequireDualStack" if len(families) > 1 else "SingleStack"
    filled = {
        "clusterIP": addresses[0],
        "clusterIPs": addresses,
        "ipFamilies": families,
        "ipFamilyPolicy": view.spec.ip_family_policy or stacks,
    }
    return {**service, "spec": {**service["spec"], **filled}}


def probe(
    key: str, size: int, candidate: Callable[[int], ValueT], taken: Container[ValueT]
) -> ValueT | None:
    """Linear probing from where the key hashes to, once around."""
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    for step in range(size):
        value = candidate((start + step) % size)
        if value not in taken:
            return value
    return None


def _addresses(service: Service) -> dict[IpFamily, str]:
    """The canonical ClusterIPs that a Service names, by family, the first one first."""
    return {family_of(address): address for address in service.spec.cluster_addresses}


def _families(service: Service, given: Iterable[IpFamily]) -> list[IpFamily]:
    """The families that a Service gets addresses of, the first one first."""
    families = list(dict.fromkeys((*service.spec.ip_families, *given))) or ["IPv4"]
    if len(families) > 1 or service.spec.ip_family_policy in _DUAL_STACK:
        families = list(dict.fromkeys((*families, *_FAMILIES)))
    return families
