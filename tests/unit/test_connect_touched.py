"""Which ports are looked at when a snapshot follows another: those that calls see changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.services import (
    PortKey,
    Service,
    ServiceAddress,
    ServicePort,
    Snapshot,
    Transport,
)
from edgemesh.policy.connect.touched import addresses_of, touched_ports

NAMES = ("a", "b", "c")
# The same address may be claimed by several Services: the first by name has it.
CLAIMS = st.dictionaries(
    st.sampled_from(NAMES),
    st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "fd00::1"]), max_size=3),
)


def ports_of(names: Sequence[str], transport: Transport) -> dict[str, ServicePort]:
    return {name: ServicePort("default", name, "", transport, 80) for name in names}


def snapshot(claims: Mapping[str, Sequence[str]], ports: Mapping[str, ServicePort]) -> Snapshot:
    index: dict[tuple[str, int], ServicePort] = {}
    for name in sorted(claims, reverse=True):
        index |= {(address, 80): ports[name] for address in claims[name]}
    is_tcp = all(port.transport is Transport.TCP for port in ports.values())
    return Snapshot(
        tcp=index if is_tcp else {},
        udp={} if is_tcp else index,
        services={
            ("default", name): Service("default", name, cluster_addresses=tuple(claims[name]))
            for name in claims
        },
        ports={ports[name].key: ports[name] for name in claims},
    )


def shown(found: Snapshot) -> dict[PortKey, tuple[int, set[ServiceAddress]]]:
    return {key: (id(port), set(addresses_of(port, found))) for key, port in found.ports.items()}


@given(CLAIMS, CLAIMS, st.sampled_from(NAMES), st.sampled_from(list(Transport)))
def test_every_port_that_is_called_otherwise_is_touched(
    before: dict[str, list[str]], after: dict[str, list[str]], renewed: str, transport: Transport
) -> None:
    ports = ports_of(NAMES, transport)
    old = snapshot(before, ports)
    new = snapshot(after, ports | {renewed: replace(ports[renewed])})
    nothing: tuple[int, set[ServiceAddress]] = (0, set())
    was, now = shown(old), shown(new)
    changed = {
        key
        for key in was.keys() | now.keys()
        if was.get(key, nothing) != now.get(key, nothing)
        and (was.get(key, nothing)[1] or now.get(key, nothing)[1])
    }
    assert changed == touched_ports(old, new)


def test_an_index_that_is_the_same_is_not_looked_through() -> None:
    found = snapshot({"a": ["192.0.2.1"]}, ports_of(NAMES, Transport.TCP))
    assert touched_ports(found, replace(found, revision=2)) == set()


def test_when_the_node_has_another_zone_every_port_is_touched() -> None:
    ports = ports_of(NAMES, Transport.TCP)
    found = snapshot({"a": ["192.0.2.1"], "b": []}, ports)
    assert touched_ports(found, replace(found, zone="north")) == {ports["a"].key}


def test_an_address_that_two_services_claim_is_of_the_one_that_has_it() -> None:
    ports = ports_of(NAMES, Transport.TCP)
    found = snapshot({"a": ["192.0.2.1"], "b": ["192.0.2.1", "192.0.2.2"]}, ports)
    assert [each.address for each in addresses_of(ports["b"], found)] == ["192.0.2.2"]
