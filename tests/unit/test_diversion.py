"""What has to be diverted by rules, and when rules may go."""

from __future__ import annotations

from collections.abc import Mapping
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
from edgemesh.model.status import DiversionNeed
from edgemesh.policy.connect.takeover import Takeover
from edgemesh.policy.diversion import Linger, diversion_need

ADDRESSES = ("10.96.0.1", "10.96.0.2", "fd00::1")
FAMILIES = {"ipv4": (False,), "ipv6": (True,), "both": (False, True)}
# Of each Service: its addresses, and those that the kernel takes.
CLAIMS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.tuples(st.sets(st.sampled_from(ADDRESSES)), st.sets(st.sampled_from(ADDRESSES))),
)
Claims = Mapping[str, tuple[set[str], set[str]]]


def key_of(name: str) -> PortKey:
    return ("default", name, Transport.TCP, 80)


def port_of(name: str) -> ServicePort:
    return ServicePort("default", name, "", Transport.TCP, 80)


def places(addresses: set[str]) -> tuple[ServiceAddress, ...]:
    return tuple(ServiceAddress(address, Transport.TCP, 80) for address in sorted(addresses))


def takeover_of(claims: Claims) -> Takeover:
    made = Takeover()
    for name, (addresses, taken) in claims.items():
        made.note(key_of(name), places(addresses), places(taken))
    return made


def snapshot_of(claims: Claims) -> Snapshot:
    return Snapshot(
        services={
            ("default", name): Service(
                "default",
                name,
                cluster_addresses=tuple(sorted(addresses)),
                ports=(port_of(name),),
            )
            for name, (addresses, _) in claims.items()
        },
        # An address is one Service's: each gets a number of its own.
        tcp={
            (f"{address}{number}", 80): port_of(name)
            for number, (name, (addresses, _)) in enumerate(claims.items())
            for address in addresses
        },
    )


def of_family(addresses: set[str], family: str) -> bool:
    return any((":" in address) in FAMILIES[family] for address in addresses)


@given(CLAIMS, st.sampled_from(list(FAMILIES)))
def test_nothing_needs_rules_exactly_when_every_address_of_the_family_is_balanced(
    claims: Claims, family: str
) -> None:
    need = diversion_need(snapshot_of(claims), takeover_of(claims), family)
    left = [name for name, (has, taken) in claims.items() if of_family(has - taken, family)]
    assert need.service_ports == len(left)
    assert need.balanced == sum(bool(has) for has, _ in claims.values()) - len(left)
    assert bool(need) is bool(left)


@given(CLAIMS, st.sampled_from(list(FAMILIES)))
def test_where_nothing_is_balanced_every_port_with_an_address_needs_rules(
    claims: Claims, family: str
) -> None:
    need = diversion_need(snapshot_of(claims), None, family)
    called = sum(of_family(addresses, family) for addresses, _ in claims.values())
    assert need == DiversionNeed(service_ports=called)


def test_a_service_that_another_proxy_serves_needs_no_rules() -> None:
    snapshot = replace(snapshot_of({"a": ({ADDRESSES[0]}, set())}), tcp={})
    assert diversion_need(snapshot, None, "both") == DiversionNeed()


@given(CLAIMS, CLAIMS)
def test_what_a_takeover_says_is_what_was_noted_last(before: Claims, after: Claims) -> None:
    changed = takeover_of(before)
    for name in before.keys() - after.keys():
        changed.note(key_of(name), (), ())
    for name, (addresses, taken) in after.items():
        changed.note(key_of(name), places(addresses), places(taken))
    fresh = takeover_of(after)
    assert (changed.left, changed.whole) == (fresh.left, fresh.whole)


def test_node_ports_and_limited_endpoints_need_rules_whatever_is_balanced() -> None:
    port = ServicePort("default", "web", "", Transport.TCP, 80)
    snapshot = Snapshot(
        tcp_node_ports={30080: port},
        udp_node_ports={30053: port},
        tcp_inbound={("10.1.0.2", 8080): port, ("fd01::2", 8080): port},
        udp_inbound={("10.1.0.3", 53): port},
    )
    assert diversion_need(snapshot, Takeover(), "ipv4") == DiversionNeed(0, 2, 2, 0)
    assert diversion_need(snapshot, Takeover(), "both") == DiversionNeed(0, 2, 3, 0)


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), min_size=1), st.floats(0.1, 30))
def test_rules_go_once_every_look_for_so_long_has_found_them_out_of_use(
    looks: list[tuple[float, bool]], seconds: float
) -> None:
    linger = Linger(seconds)
    now = 100.0
    idle_since: float | None = None
    for pause, in_use in looks:
        now += pause
        idle_since = None if in_use else now if idle_since is None else idle_since
        expected = idle_since is not None and now - idle_since >= seconds
        assert linger.is_over(in_use=in_use, now=now) is expected
