"""Services that no cluster gives an address get one that every node computes alike."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_bodies import Body, service

from edgemesh.model.errors import OperatorError
from edgemesh.policy.allocation import allocate_address, fill_addresses
from edgemesh.wire.kubernetes import validate

CIDR4, CIDR6 = "10.96.0.0/12", "fd00:96::/112"
NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


def filled(taken: set[str] | None = None, previous: Body | None = None, **spec: Any) -> Body:
    body = service(**{"clusterIP": "", **spec})
    found = fill_addresses(body, CIDR4, CIDR6, taken or set(), previous)
    validate(found)
    return found["spec"]


@given(NAMES, NAMES, st.sampled_from([CIDR4, CIDR6, "192.0.2.0/27"]))
def test_an_address_is_in_the_network_and_always_the_same(
    namespace: str, name: str, cidr: str
) -> None:
    address = allocate_address(namespace, name, cidr, set())
    network = ip_network(cidr)
    offset = int(ip_address(address)) - int(network.network_address)
    assert 16 <= offset < network.num_addresses - 1
    assert address == allocate_address(namespace, name, cidr, set())


def test_addresses_are_taken_until_the_network_is_full() -> None:
    taken: set[str] = set()
    for number in range(15):
        taken.add(allocate_address("default", f"web-{number}", "192.0.2.0/27", taken))
    assert len(taken) == 15
    with pytest.raises(OperatorError, match=r"^Service default/web: no address is free in 192"):
        allocate_address("default", "web", "192.0.2.0/27", taken)


def test_a_network_of_reserved_addresses_only_is_full() -> None:
    with pytest.raises(OperatorError):
        allocate_address("default", "web", "192.0.2.0/29", set())


def test_the_address_is_the_one_that_documentation_and_labs_may_rely_on() -> None:
    assert allocate_address("default", "web", CIDR4, set()) == "10.104.59.93"


@pytest.mark.parametrize(
    ("spec", "families", "policy"),
    [
        ({}, ["IPv4"], "SingleStack"),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"], "SingleStack"),
        ({"ipFamilyPolicy": "SingleStack"}, ["IPv4"], "SingleStack"),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], "PreferDualStack"),
        ({"ipFamilyPolicy": "RequireDualStack"}, ["IPv4", "IPv6"], "RequireDualStack"),
        (
            {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]},
            ["IPv6", "IPv4"],
            "PreferDualStack",
        ),
        ({"ipFamilies": ["IPv6", "IPv4"]}, ["IPv6", "IPv4"], "RequireDualStack"),
    ],
)
def test_families_are_filled_in_as_kubernetes_does(
    spec: Body, families: list[str], policy: str
) -> None:
    found = filled(**spec)
    assert found["ipFamilies"] == families
    assert found["ipFamilyPolicy"] == policy
    assert found["clusterIPs"][0] == found["clusterIP"]
    assert [ip_address(a).version for a in found["clusterIPs"]] == [int(f[-1]) for f in families]


def test_an_address_that_is_named_stays() -> None:
    assert filled(clusterIP="10.1.2.3")["clusterIPs"] == ["10.1.2.3"]
    found = filled(clusterIP="FD00::0:1", ipFamilyPolicy="PreferDualStack")
    assert found["clusterIPs"] == ["fd00::1", "10.104.59.93"]


def test_an_address_that_another_has_is_refused() -> None:
    with pytest.raises(OperatorError, match=r"^Service default/web: address 10\.1\.2\.3 is "):
        filled({"10.1.2.3"}, clusterIP="10.1.2.3")


def test_a_service_keeps_the_addresses_it_had() -> None:
    previous = service(clusterIP="10.1.2.3", clusterIPs=["10.1.2.3", "fd00::7"])
    assert filled(previous=previous)["clusterIPs"] == ["10.1.2.3"]
    dual = filled(previous=previous, ipFamilyPolicy="RequireDualStack")
    assert dual["clusterIPs"] == ["10.1.2.3", "fd00::7"]
    assert filled(previous=previous, ipFamilies=["IPv6"])["clusterIPs"] == ["fd00::7"]
    assert filled(previous=previous, clusterIP="10.9.9.9")["clusterIPs"] == ["10.9.9.9"]


def test_an_address_it_had_is_given_up_when_another_has_it() -> None:
    previous = service(clusterIP="10.1.2.3")
    assert filled({"10.1.2.3"}, previous)["clusterIPs"] == ["10.104.59.93"]


@pytest.mark.parametrize(
    "body",
    [
        service(clusterIP="None"),
        service(type="ExternalName", externalName="example.org", clusterIP=""),
    ],
)
def test_a_service_without_addresses_stays_as_it_is(body: Body) -> None:
    assert fill_addresses(body, CIDR4, CIDR6, set()) == body


def test_the_rest_of_the_body_stays_and_the_original_is_not_changed() -> None:
    body = {**service(clusterIP=""), "status": {"x": 1}}
    found = fill_addresses(body, CIDR4, CIDR6, set())
    assert body["spec"] == {"clusterIP": "", "ports": [{"port": 80}]}
    assert found["status"] == {"x": 1}
    assert found["spec"]["ports"] == [{"port": 80}]
