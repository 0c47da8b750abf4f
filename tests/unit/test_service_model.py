"""A Service object becomes the Service that the data plane sees."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import Body, destination_rule, endpoint, endpoint_slice, service

from edgemesh.model.policies import DEFAULT_POLICY, Balance, Balancing, Locality
from edgemesh.model.services import Endpoint, Service, Source, Transport
from edgemesh.policy.endpoint_groups import group_of_slice
from edgemesh.policy.objects.authored import NOTHING_AUTHORED, Authored
from edgemesh.policy.objects.backends import Neighbours
from edgemesh.policy.service_model import (
    ServiceRecord,
    Surroundings,
    complete_service,
    record_service,
)
from edgemesh.wire.kubernetes import decode_as
from edgemesh.wire.kubernetes.core import Service as ServiceView
from edgemesh.wire.kubernetes.endpoints import EndpointSlice
from edgemesh.wire.kubernetes.istio.destination_rule import DestinationRule

ALONE = Surroundings({}, lambda _: {}, {}, Neighbours(lambda _: None, lambda _: ()))


def recorded(body: Body, default: Source = Source.NODE) -> ServiceRecord:
    return record_service(decode_as(ServiceView, body), default)


def completed(
    body: Body, *slices: Body, around: Surroundings = ALONE, said: Authored = NOTHING_AUTHORED
) -> Service:
    groups = [group_of_slice(decode_as(EndpointSlice, found)) for found in slices]
    return complete_service(recorded(body).service, groups, said, around)


def annotated(**annotations: str) -> Body:
    body = service()
    body["metadata"]["annotations"] = {
        f"edgemesh.io/{key}": value for key, value in annotations.items()
    }
    return body


def test_a_port_carries_what_is_declared_about_it() -> None:
    port = {"name": "http-0", "port": 80, "nodePort": 30080, "targetPort": 8080}
    [found] = recorded(service(type="NodePort", ports=[port])).service.ports
    assert str(found) == "default/web:80"
    assert found.name == "http-0"
    assert found.transport is Transport.TCP
    assert found.node_port == 30080
    assert found.application_protocol == "http"


def test_ports_of_sctp_are_left_out() -> None:
    ports = [
        {"name": "a", "port": 80, "protocol": "SCTP"},
        {"name": "b", "port": 80, "protocol": "UDP"},
    ]
    assert [port.name for port in recorded(service(ports=ports)).service.ports] == ["b"]


def test_addresses_are_canonical_and_each_is_there_once() -> None:
    body = service(
        clusterIP="FD00::00:1",
        clusterIPs=["fd00::1", "10.96.0.1"],
        externalIPs=["192.0.2.1", "::ffff:192.0.2.1"],
    )
    ingress = [{"ip": "192.0.2.1"}, {"ip": "2001:DB8::1"}, {"hostname": "lb.example"}]
    body["status"] = {"loadBalancer": {"ingress": ingress}}
    found = recorded(body).service
    assert found.cluster_addresses == ("fd00::1", "10.96.0.1")
    assert found.other_addresses == ("192.0.2.1", "2001:db8::1")


def test_a_headless_service_has_no_addresses() -> None:
    found = recorded(service(clusterIP="None", externalIPs=["192.0.2.1"])).service
    assert found.headless
    assert found.addresses == ()


def test_an_external_name_has_no_addresses() -> None:
    body = service(type="ExternalName", externalName="example.org", externalIPs=["192.0.2.1"])
    found = recorded(body).service
    assert found.external_name == "example.org"
    assert found.addresses == ()


def test_only_type_external_name_has_an_external_name() -> None:
    assert recorded(service(externalName="left.over")).service.external_name == ""


@pytest.mark.parametrize("source", list(Source))
def test_the_source_is_the_annotations_or_else_the_default(source: Source) -> None:
    assert recorded(service(), source).service.ports[0].source is source
    other = next(known for known in Source if known is not source)
    found = recorded(annotated(source=source.value), other)
    assert found.service.ports[0].source is source
    assert found.problems == ()


def test_a_source_that_is_not_known_is_told_and_passed_over() -> None:
    found = recorded(annotated(source="client"))
    assert found.service.ports[0].source is Source.NODE
    assert found.problems == (
        'metadata.annotations["edgemesh.io/source"]: expected node or preserve, got "client"',
    )


def test_a_service_of_another_proxy_is_not_intercepted() -> None:
    body = service()
    assert recorded(body).intercepted
    body["metadata"]["labels"] = {"service.edgemesh.kubeedge.io/service-proxy-name": ""}
    assert not recorded(body).intercepted


def test_ports_are_matched_by_name_and_transport() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 82}]
    found = completed(
        service(ports=ports),
        endpoint_slice(endpoint("10.0.0.1"), port=8080, port_name="a"),
        endpoint_slice(endpoint("10.0.0.2"), port=9090, port_name="b"),
        endpoint_slice(endpoint("10.0.0.3"), port=9091, port_name="a"),
    )
    assert [[(e.address, e.port) for e in port.endpoints] for port in found.ports] == [
        [("10.0.0.1", 8080), ("10.0.0.3", 9091)],
        [("10.0.0.2", 9090)],
        [],
    ]


def test_a_udp_port_takes_no_tcp_endpoint() -> None:
    body = service(ports=[{"port": 53, "protocol": "UDP"}])
    assert completed(body, endpoint_slice(endpoint("10.0.0.1"))).ports[0].endpoints == ()


def test_every_port_is_balanced_by_the_rule() -> None:
    rule = decode_as(DestinationRule, destination_rule("web", "web", "RANDOM"))
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    found = completed(service(ports=ports), said=Authored(rule))
    assert [port.policy.balancing.algorithm for port in found.ports] == [Balance.RANDOM] * 2


def test_a_pods_weight_is_its_endpoints() -> None:
    slices = endpoint_slice(
        endpoint("10.0.0.1", pod_name="heavy"), endpoint("10.0.0.2", pod_name="plain")
    )
    found = completed(service(), slices, around=ALONE._replace(weights={"default/heavy": 5}))
    assert [each.weight for each in found.ports[0].endpoints] == [5, 1]


@pytest.mark.parametrize(
    ("spec", "balancing"),
    [
        ({}, Balancing()),
        ({"sessionAffinity": "ClientIP"}, Balancing(affinity_seconds=10800)),
        (
            {
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
            },
            Balancing(affinity_seconds=60),
        ),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}, Balancing()),
        ({"internalTrafficPolicy": "Local"}, Balancing(locality=Locality.NODE_ONLY)),
        (
            {"internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"},
            Balancing(locality=Locality.NODE_ONLY),
        ),
        ({"trafficDistribution": "PreferClose"}, Balancing(locality=Locality.PREFER_ZONE)),
        ({"trafficDistribution": "PreferSameZone"}, Balancing(locality=Locality.PREFER_ZONE)),
        ({"trafficDistribution": "PreferSameNode"}, Balancing(locality=Locality.PREFER_NODE)),
    ],
)
def test_a_service_says_how_its_endpoints_are_chosen(
    spec: dict[str, Any], balancing: Balancing
) -> None:
    record = recorded(service(**spec))
    assert record.service.ports[0].policy.balancing == balancing
    assert record.problems == ()


def test_a_service_that_says_nothing_shares_the_default_policy() -> None:
    assert completed(service()).ports[0].policy is DEFAULT_POLICY


def test_a_distribution_that_is_not_known_is_told() -> None:
    record = recorded(service(trafficDistribution="PreferMoon"))
    assert record.service.ports[0].policy is DEFAULT_POLICY
    assert record.problems == (
        (
            "spec.trafficDistribution: expected PreferClose or PreferSameZone or PreferSameNode,"
            ' got "PreferMoon"'
        ),
    )


@pytest.mark.parametrize(
    ("spec", "portless"),
    [
        ({"clusterIP": "None", "ports": []}, (Endpoint("10.0.0.1", 0),)),
        ({"clusterIP": "None"}, ()),
        ({"type": "ExternalName", "externalName": "a.b", "ports": []}, ()),
    ],
)
def test_endpoints_without_a_port_are_kept_for_a_headless_service_without_ports(
    spec: dict[str, Any], portless: tuple[Endpoint, ...]
) -> None:
    found = completed(service(**spec), endpoint_slice(endpoint("10.0.0.1")))
    assert found.portless_endpoints == portless


def test_endpoints_that_are_not_ready_are_published_where_the_service_says_so() -> None:
    slow = endpoint_slice(endpoint("10.0.0.1", conditions={"ready": False}))
    assert completed(service(), slow).ports[0].endpoints == ()
    body = service(publishNotReadyAddresses=True)
    assert completed(body, slow).ports[0].endpoints == (Endpoint("10.0.0.1", 8080),)
