"""The cluster's names, as Kubernetes' DNS specification gives them."""

from __future__ import annotations

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemesh.model.services import (
    Endpoint,
    PodIdentity,
    Service,
    ServicePort,
    Snapshot,
    Transport,
)
from edgemesh.policy.name_index import NameIndex, dashed, undashed
from edgemesh.policy.naming import Answer, answer, rotated
from edgemesh.policy.zone import Zone
from edgemesh.wire.dns import codes
from edgemesh.wire.dns.encode import encode_response
from edgemesh.wire.dns.names import FormatError, from_text
from edgemesh.wire.dns.query import encode_query, parse_query
from edgemesh.wire.dns.records import Content, address_record, cname_record

ZONE = Zone.of("cluster.local", 30, 15)
TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "ANY": 255}


def port(service: str, name: str, number: int, *endpoints: Endpoint) -> ServicePort:
    transport = Transport.UDP if name.startswith("dns") else Transport.TCP
    return ServicePort("default", service, name, transport, number, endpoints=endpoints)


FIRST = Endpoint("10.244.0.7", 8080, pod="default/db-0", hostname="db-0")
SECOND = Endpoint("10.244.1.8", 8080, pod="default/db-1", hostname="Not a label")
SECOND_V6 = Endpoint("fd00::8", 8080, pod="default/db-1")
SERVICES = (
    Service(
        "default",
        "web",
        cluster_addresses=("10.96.0.10", "fd00:96::10"),
        ports=(port("web", "http", 80), port("web", "dns", 53), port("web", "", 81)),
    ),
    Service("default", "single", cluster_addresses=("10.96.0.11",), ports=(port("single", "", 1),)),
    Service(
        "default",
        "db",
        headless=True,
        ports=(
            port("db", "sql", 5432, FIRST, SECOND, SECOND_V6),
            port("db", "metrics", 9100, FIRST),
            port("db", "idle", 1),
        ),
    ),
    Service("default", "bare", headless=True, portless_endpoints=(Endpoint("10.244.0.9", 0),)),
    Service("default", "none", headless=True),
    Service("default", "outside", type="ExternalName", external_name="DB.example.com."),
    Service(
        "default",
        "inside",
        type="ExternalName",
        external_name="web.default.svc.cluster.local",
    ),
    Service("default", "gone", type="ExternalName", external_name="no.default.svc.cluster.local"),
    Service("default", "loop", type="ExternalName", external_name="loop.default.svc.cluster.local"),
    Service("default", "broken", type="ExternalName", external_name="a..b"),
    Service("Odd Name", "x" * 64, cluster_addresses=("10.96.0.12",)),
)
SNAPSHOT = Snapshot(
    revision=9,
    services={(service.namespace, service.name): service for service in SERVICES},
    pods={"10.244.0.20": PodIdentity("apps", "job"), "fd00::20": PodIdentity("apps", "job")},
)
INDEX = NameIndex(SNAPSHOT, ZONE)


def asked(name: str, kind: str = "A") -> Answer:
    found = answer(INDEX, from_text(name), TYPES[kind])
    assert found is not None
    return found


def lines(name: str, kind: str = "A") -> list[str]:
    """The answer section as dnspython prints it, without owner, TTL and class."""
    query = parse_query(encode_query(1, from_text(name), TYPES[kind], 0))
    content = asked(name, kind).content
    message = encode_response(query, content, limit=65535, authoritative=True, payload_size=1232)
    parsed = dns.message.from_wire(message, one_rr_per_rrset=True)
    return [" ".join(rrset.to_text().split()[3:]) for rrset in parsed.answer]


def denial(name: str, kind: str = "A") -> int:
    """The code of a denial, which carries the zone's SOA and nothing else."""
    content = asked(name, kind).content
    assert content.answer == content.additional == ()
    (start,) = content.authority
    assert (start.owner, start.type, start.ttl) == (ZONE.domain, codes.SOA, 15)
    return content.rcode


def test_a_service_has_its_cluster_addresses_by_family() -> None:
    assert lines("web.default.svc.cluster.local") == ["A 10.96.0.10"]
    assert lines("web.default.svc.cluster.local", "AAAA") == ["AAAA fd00:96::10"]


def test_the_ttl_is_the_zones() -> None:
    assert [record.ttl for record in asked("web.default.svc.cluster.local").content.answer] == [30]


def test_any_gives_both_families() -> None:
    assert lines("web.default.svc.cluster.local", "ANY") == ["A 10.96.0.10", "AAAA fd00:96::10"]


@pytest.mark.parametrize(
    "name",
    [
        "cluster.local",
        "svc.cluster.local",
        "pod.cluster.local",
        "default.svc.cluster.local",
        "default.pod.cluster.local",
        "apps.svc.cluster.local",
        "apps.pod.cluster.local",
        "_tcp.web.default.svc.cluster.local",
        "_udp.web.default.svc.cluster.local",
        "_http._tcp.web.default.svc.cluster.local",
        "none.default.svc.cluster.local",
        "broken.default.svc.cluster.local",
        "dns-version.cluster.local",
    ],
)
def test_a_name_that_exists_without_the_type_is_no_data(name: str) -> None:
    assert denial(name) == codes.NOERROR


def test_a_service_of_one_family_has_no_data_of_the_other() -> None:
    assert denial("single.default.svc.cluster.local", "AAAA") == codes.NOERROR


def test_a_named_port_without_endpoints_has_no_data() -> None:
    assert denial("_idle._tcp.db.default.svc.cluster.local", "SRV") == codes.NOERROR


@pytest.mark.parametrize(
    "name",
    [
        "no.default.svc.cluster.local",
        "web.no.svc.cluster.local",
        "no.svc.cluster.local",
        "no.pod.cluster.local",
        "no.cluster.local",
        "web.default.cluster.local",
        "www.example.com.default.svc.cluster.local",
        "www.example.com.svc.cluster.local",
        "www.example.com.cluster.local",
        "web.default.default.svc.cluster.local",
        "web.default.svc.cluster.local.default.svc.cluster.local",
        "db-0.web.default.svc.cluster.local",
        "db-9.db.default.svc.cluster.local",
        "_udp.db.default.svc.cluster.local",
        "_tcp.single.default.svc.cluster.local",
        "_._tcp.single.default.svc.cluster.local",
        "_no._tcp.web.default.svc.cluster.local",
        "_http._udp.web.default.svc.cluster.local",
        "http._tcp.web.default.svc.cluster.local",
        "a._http._tcp.web.default.svc.cluster.local",
        "10-244-0-21.apps.pod.cluster.local",
        "10-244-0-20.default.pod.cluster.local",
        "a.10-244-0-20.apps.pod.cluster.local",
        "fd00-0--20.apps.pod.cluster.local",
        "job.apps.pod.cluster.local",
        "under.outside.default.svc.cluster.local",
        "a.dns-version.cluster.local",
    ],
)
def test_a_name_that_does_not_exist_is_denied_and_never_passed_on(name: str) -> None:
    assert denial(name) == codes.NXDOMAIN


def test_labels_outside_ascii_do_not_exist() -> None:
    found = answer(INDEX, b"\2\xc3\xbc\7default\3svc" + ZONE.domain, codes.A)
    assert found is not None
    assert found.content.rcode == codes.NXDOMAIN


@pytest.mark.parametrize(
    "name", ["example.com", "local", ".", "notcluster.local", "1.1.1.1.in-addr.arpa"]
)
def test_names_outside_the_domain_are_not_ours(name: str) -> None:
    assert answer(INDEX, from_text(name), codes.A) is None


def test_a_headless_service_has_the_addresses_of_its_endpoints_once() -> None:
    assert lines("db.default.svc.cluster.local") == ["A 10.244.0.7", "A 10.244.1.8"]
    assert lines("db.default.svc.cluster.local", "AAAA") == ["AAAA fd00::8"]


def test_a_headless_service_without_ports_has_addresses() -> None:
    assert lines("bare.default.svc.cluster.local") == ["A 10.244.0.9"]


def test_an_endpoint_is_called_by_its_hostname_or_its_dashed_address() -> None:
    assert lines("db-0.db.default.svc.cluster.local") == ["A 10.244.0.7"]
    assert lines("10-244-1-8.db.default.svc.cluster.local") == ["A 10.244.1.8"]
    assert lines("fd00--8.db.default.svc.cluster.local", "AAAA") == ["AAAA fd00::8"]


def test_a_pod_is_called_by_its_dashed_address_in_its_namespace() -> None:
    assert lines("10-244-0-20.apps.pod.cluster.local") == ["A 10.244.0.20"]
    assert lines("fd00--20.apps.pod.cluster.local", "AAAA") == ["AAAA fd00::20"]


@pytest.mark.parametrize(("address", "label"), [("::1", "0--1"), ("fd00::", "fd00--0")])
def test_a_dashed_address_neither_begins_nor_ends_with_a_dash(address: str, label: str) -> None:
    assert dashed(address) == label


@given(st.ip_addresses())
def test_an_address_has_one_dashed_form_which_leads_back(address: object) -> None:
    assert undashed(dashed(str(address))) == str(address)


def test_srv_names_the_service_and_brings_its_addresses() -> None:
    name = "_http._tcp.web.default.svc.cluster.local"
    assert lines(name, "SRV") == ["SRV 0 100 80 web.default.svc.cluster.local."]
    owner = from_text("web.default.svc.cluster.local")
    assert asked(name, "SRV").content.additional == (
        address_record(owner, 30, "10.96.0.10"),
        address_record(owner, 30, "fd00:96::10"),
    )


def test_srv_of_a_headless_service_names_each_endpoint_with_its_own_port() -> None:
    name = "_sql._tcp.db.default.svc.cluster.local"
    assert lines(name, "SRV") == [
        "SRV 0 100 8080 db-0.db.default.svc.cluster.local.",
        "SRV 0 100 8080 10-244-1-8.db.default.svc.cluster.local.",
        "SRV 0 100 8080 fd00--8.db.default.svc.cluster.local.",
    ]
    assert len(asked(name, "SRV").content.additional) == 3


def test_an_external_name_inside_the_domain_is_answered_whole() -> None:
    assert lines("inside.default.svc.cluster.local") == [
        "CNAME web.default.svc.cluster.local.",
        "A 10.96.0.10",
    ]
    assert asked("inside.default.svc.cluster.local").alias is None


def test_an_external_name_outside_leaves_its_target_to_be_asked() -> None:
    found = asked("outside.default.svc.cluster.local")
    owner = from_text("outside.default.svc.cluster.local")
    target = from_text("db.example.com")
    assert found == Answer(Content(codes.NOERROR, (cname_record(owner, 30, target),)), target)


def test_asked_for_the_alias_itself_nothing_is_followed() -> None:
    for kind in ("CNAME", "ANY"):
        assert lines("outside.default.svc.cluster.local", kind) == ["CNAME db.example.com."]
        assert asked("outside.default.svc.cluster.local", kind).alias is None


def test_an_alias_to_nothing_is_a_denial_behind_the_alias() -> None:
    content = asked("gone.default.svc.cluster.local").content
    assert content.rcode == codes.NXDOMAIN
    assert [record.type for record in content.answer] == [codes.CNAME]
    assert [record.type for record in content.authority] == [codes.SOA]


def test_aliases_in_a_circle_are_a_failure() -> None:
    assert asked("loop.default.svc.cluster.local").content.rcode == codes.SERVFAIL


def test_an_address_points_back_to_its_service_or_endpoint() -> None:
    assert lines("10.0.96.10.in-addr.arpa", "PTR") == ["PTR web.default.svc.cluster.local."]
    assert lines("7.0.244.10.in-addr.arpa", "PTR") == ["PTR db-0.db.default.svc.cluster.local."]
    v6 = "8." + "0." * 27 + "0.0.d.f.ip6.arpa"
    assert lines(v6, "PTR") == ["PTR fd00--8.db.default.svc.cluster.local."]


def test_the_name_of_an_address_has_no_other_data() -> None:
    content = asked("10.0.96.10.in-addr.arpa").content
    assert (content.rcode, content.answer) == (codes.NOERROR, ())
    assert content.authority[0].owner == from_text("10.0.96.10.in-addr.arpa")


def test_addresses_of_nothing_that_can_be_named_are_not_ours() -> None:
    assert answer(INDEX, from_text("12.0.96.10.in-addr.arpa"), codes.PTR) is None


def test_the_domain_has_a_start_and_a_version() -> None:
    (start,) = lines("cluster.local", "SOA")
    assert start.startswith("SOA ns.dns.cluster.local. hostmaster.cluster.local. 9 ")
    assert start.endswith(" 15")
    assert lines("dns-version.cluster.local", "TXT") == ['TXT "1.1.0"']


def test_rotation_moves_addresses_and_keeps_aliases_in_front() -> None:
    owner = from_text("a")
    alias = cname_record(owner, 1, owner)
    one, two, three = (address_record(owner, 1, f"10.0.0.{n}") for n in (1, 2, 3))
    content = Content(codes.NOERROR, (alias, one, two, three))
    assert rotated(content, 1).answer == (alias, two, three, one)
    assert rotated(content, 0) == content
    assert rotated(Content(codes.NXDOMAIN), 5) == Content(codes.NXDOMAIN)


@pytest.mark.parametrize("domain", ["", ".", "a..b", "a." * 40])
def test_a_domain_that_leaves_no_room_is_refused(domain: str) -> None:
    with pytest.raises(FormatError):
        Zone.of(domain, 30, 15)


WORDS = ["web", "db", "db-0", "default", "svc", "pod", "_tcp", "_http", "_sql", "cluster", "x"]


@given(st.lists(st.sampled_from(WORDS), max_size=7), st.sampled_from(sorted(TYPES)))
def test_nothing_exists_below_a_name_that_does_not(labels: list[str], kind: str) -> None:
    """RFC 8020: NXDOMAIN for a name is NXDOMAIN for every name below it."""
    above = asked(".".join([*labels[1:], "cluster.local"]), kind).content.rcode
    below = asked(".".join([*labels, "cluster.local"]), kind).content.rcode
    assert above != codes.NXDOMAIN or below == codes.NXDOMAIN
