"""Cluster addresses and node ports: filled in for Services, and never given twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from edgemesh.meta.errors import Code, RefusedError
from edgemesh.model.objects import KubeObject, ObjectKey
from edgemesh.model.services import NodePort, Transport
from edgemesh.model.settings import MetaSettings
from edgemesh.policy.allocation import fill_addresses
from edgemesh.policy.node_ports import fill_node_ports
from edgemesh.store.transaction import Transaction
from edgemesh.wire.addresses import canonical_address

ValueT = TypeVar("ValueT")


class Addresses:
    """Allocates for the controller.

    Args:
        settings: the ranges to take from.
    """

    def __init__(self, settings: MetaSettings) -> None:
        self._settings = settings

    def fill(
        self,
        transaction: Transaction,
        service: ObjectKey,
        body: dict[str, Any],
        existing: KubeObject | None,
    ) -> tuple[dict[str, Any], list[str]]:
        """A Service with its addresses and node ports, and these as the store keeps them.

        What it had before it keeps; what it names itself it gets.

        Raises:
            RefusedError: what it names belongs to another Service.
            OperatorError: a range is used up.
        """
        settings = self._settings
        for value in named_values(body):
            _require_free(transaction, service, value)
        previous = existing.body if existing else None
        addresses: _Taken[str] = _Taken(transaction, service, str)
        node_ports: _Taken[NodePort] = _Taken(transaction, service, _node_port_value)
        body = fill_addresses(
            body, settings.service_cidr4, settings.service_cidr6, addresses, previous
        )
        numbers = range(settings.node_port_first, settings.node_port_last + 1)
        body = fill_node_ports(body, numbers, node_ports, previous)
        return body, named_values(body)


class _Taken(Generic[ValueT]):
    """What other Services have, asked of the store one value at a time."""

    def __init__(
        self, transaction: Transaction, service: ObjectKey, text: Callable[[ValueT], str]
    ) -> None:
        self._transaction = transaction
        self._service = service
        self._text = text

    def __contains__(self, value: Any) -> bool:
        return self._transaction.owner_of(self._text(value)) not in {None, self._service}


def _require_free(transaction: Transaction, service: ObjectKey, value: str) -> None:
    owner = transaction.owner_of(value)
    if owner not in {None, service}:
        what = "node port" if "/" in value else "cluster address"
        raise RefusedError(
            Code.CONFLICT,
            f"{service}: {what} {value} belongs to {owner}",
            "name another one, or none to be given a free one",
        )


def named_values(body: Mapping[str, Any]) -> list[str]:
    """The addresses and node ports that a valid Service names, as the store keeps them."""
    spec = body.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    # The first of the addresses is said twice.
    named = dict.fromkeys((spec.get("clusterIP"), *(spec.get("clusterIPs") or ())))
    addresses = {canonical_address(one): None for one in named if one and one != "None"}
    ports = (
        _node_port_value(NodePort(Transport(port.get("protocol") or "TCP"), port["nodePort"]))
        for port in spec.get("ports") or ()
        if port.get("nodePort") and (port.get("protocol") or "TCP") in set(Transport)
    )
    return [*addresses, *dict.fromkeys(ports)]


def _node_port_value(node_port: NodePort) -> str:
    return f"{node_port.transport}/{node_port.port}"
