"""What the cluster's names mean: Kubernetes' DNS-Based Service Discovery, version 1.1.0.

The names below the domain are a tree, and the tree alone decides between the two denials: a
node that is not there is NXDOMAIN, a node without the type asked for is NODATA, and a node
exists as soon as one below it does (RFC 8020)::

    svc                                 empty
    svc NAMESPACE                       empty
    svc NAMESPACE SERVICE               A, AAAA, or CNAME of an ExternalName
    svc NAMESPACE SERVICE HOST          A, AAAA of a headless Service's endpoint
    svc NAMESPACE SERVICE _PROTO        empty, when a port of that protocol has a name
    svc NAMESPACE SERVICE _PROTO _PORT  SRV
    pod, pod NAMESPACE                  empty
    pod NAMESPACE DASHED-ADDRESS        A or AAAA
    dns-version                         TXT

Search lists need nothing of their own: each form that a Pod's resolver tries is either such a
name or a name that does not exist, and all of them are ours to answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from edgemesh.model.services import Service, ServicePort
from edgemesh.policy.name_index import NameIndex, Owner, endpoint_label, is_label
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.names import FormatError, from_text
from edgemesh.wire.dns.records import (
    SERVER_FAILURE,
    Content,
    Record,
    address_record,
    cname_record,
    ptr_record,
    srv_record,
    txt_record,
)
from edgemesh.wire.dns.reverse import address_of

SPECIFICATION_VERSION: Final = b"1.1.0"
# ExternalNames that lead to each other end here.
_MOST_ALIASES: Final = 8


class Answer(NamedTuple):
    """What the cluster knows about a question.

    Args:
        content: the answer, complete unless there is an alias.
        alias: the name outside the cluster that the last CNAME leads to; whoever asked needs
            its records as well. None when there is none.
    """

    content: Content
    alias: bytes | None = None


def answer(index: NameIndex, name: bytes, question_type: int) -> Answer | None:
    """Answer a question for a canonical name.

    Returns:
        None when the name is not ours: outside the domain, and no address of a Service.
    """
    if index.zone.relative(name) is not None:
        return _follow(index, name, question_type)
    address = address_of(name)
    owners = index.owners(address) if address else ()
    # A Service whose name is no label, if there is one, cannot be pointed at.
    targets = [_target(index, owner) for owner in owners if _has_name(owner.service)]
    if not targets:
        return None
    pointers = [ptr_record(name, index.zone.ttl, target) for target in targets]
    start = index.zone.start(name, index.snapshot.revision)
    return Answer(_select(index, pointers, question_type, start))


def _has_name(service: Service) -> bool:
    return is_label(service.name) and is_label(service.namespace)


def rotated(content: Content, turn: int) -> Content:
    """The same answer, its records behind the CNAMEs moved on by ``turn``.

    Clients often take the first address, so that taking turns spreads them.
    """
    aliases = tuple(record for record in content.answer if record.type == codes.CNAME)
    records = content.answer[len(aliases) :]
    return content._replace(answer=aliases + records[turn:] + records[:turn])


def _follow(index: NameIndex, name: bytes, question_type: int) -> Answer:
    """The answer for a name of the domain, along the CNAMEs that begin there."""
    aliases: list[Record] = []
    while len(aliases) < _MOST_ALIASES:
        relative = index.zone.relative(name)
        if relative is None:
            return Answer(Content(codes.NOERROR, tuple(aliases)), alias=name)
        records = _records(index, name, relative)
        if records is None:
            return Answer(Content(codes.NXDOMAIN, tuple(aliases), (index.start,)))
        if not _is_alias(records) or question_type in {codes.CNAME, codes.ANY}:
            found = _select(index, records, question_type, index.start)
            return Answer(found._replace(answer=(*aliases, *found.answer)))
        aliases += records
        name = records[0].data.lower()
    return Answer(SERVER_FAILURE)


def _is_alias(records: Sequence[Record]) -> bool:
    return bool(records) and records[0].type == codes.CNAME


def _select(
    index: NameIndex, records: Iterable[Record], question_type: int, start: Record
) -> Content:
    """The records of that type, with the addresses of SRV targets; without any, NODATA.

    ``start`` is the SOA record of the zone that denies.
    """
    chosen = tuple(record for record in records if question_type in {record.type, codes.ANY})
    if not chosen:
        return Content(codes.NOERROR, authority=(start,))
    targets = dict.fromkeys(record.data[6:] for record in chosen if record.type == codes.SRV)
    additional = (_follow(index, target, codes.ANY).content.answer for target in targets)
    return Content(codes.NOERROR, chosen, additional=tuple(chain.from_iterable(additional)))


def _records(index: NameIndex, name: bytes, relative: tuple[str, ...]) -> Sequence[Record] | None:
    """All records of one node of the tree; None when there is no such node."""
    match relative:
        case ():
            return [index.start]
        case ("dns-version",):
            return [txt_record(name, index.zone.ttl, SPECIFICATION_VERSION)]
        case ("svc" | "pod",):
            return []
        case ("svc" | "pod", namespace):
            return [] if namespace in index.namespaces else None
        case ("pod", namespace, label):
            return _pod_records(index, name, namespace, label)
        case ("svc", namespace, service_name, *rest):
            service = index.snapshot.services.get((namespace, service_name))
            return _service_records(index, name, service, rest) if service else None
    return None


def _pod_records(index: NameIndex, name: bytes, namespace: str, label: str) -> list[Record] | None:
    address = index.pod_address(namespace, label)
    return None if address is None else [address_record(name, index.zone.ttl, address)]


def _service_records(
    index: NameIndex, name: bytes, service: Service, rest: list[str]
) -> Sequence[Record] | None:
    match rest:
        case []:
            return _own_records(index, name, service)
        case [("_tcp" | "_udp") as protocol]:
            named = any(port.name for port in _ports(service, protocol))
            return [] if named else None
        case [("_tcp" | "_udp") as protocol, label]:
            ports = [p for p in _ports(service, protocol) if p.name and label == f"_{p.name}"]
            return _srv_records(index, name, service, ports) if ports else None
        case [host] if service.headless:
            addresses = index.hosts(service).get(host)
            return None if addresses is None else _address_records(index, name, addresses)
    return None


def _own_records(index: NameIndex, name: bytes, service: Service) -> list[Record]:
    if service.external_name:
        try:
            target = from_text(service.external_name)
        except FormatError:
            # Nobody can ask for such a target; its Service stands there with no records.
            return []
        return [cname_record(name, index.zone.ttl, target)]
    if service.headless:
        hosts = index.hosts(service).values()
        addresses = dict.fromkeys(address for host in hosts for address in host)
        return _address_records(index, name, addresses)
    return _address_records(index, name, service.cluster_addresses)


def _srv_records(
    index: NameIndex, name: bytes, service: Service, ports: list[ServicePort]
) -> list[Record]:
    """One record for each place: the Service itself, or each endpoint of a headless one."""
    if not service.headless:
        targets = [(port.port, _target(index, Owner(service))) for port in ports]
    else:
        targets = [
            (endpoint.port, _target(index, Owner(service, endpoint_label(endpoint))))
            for port in ports
            for endpoint in port.endpoints
        ]
    ttl = index.zone.ttl
    return [srv_record(name, ttl, port, target) for port, target in dict.fromkeys(targets)]


def _ports(service: Service, protocol: str) -> list[ServicePort]:
    return [port for port in service.ports if f"_{port.transport.lower()}" == protocol]


def _target(index: NameIndex, owner: Owner) -> bytes:
    service, label = owner
    host = (label,) if label else ()
    return index.zone.below(*host, service.name, service.namespace, "svc")


def _address_records(index: NameIndex, name: bytes, addresses: Iterable[str]) -> list[Record]:
    return [address_record(name, index.zone.ttl, address) for address in addresses]
