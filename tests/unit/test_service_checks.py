"""Fields of a Service that contradict each other are refused."""

from __future__ import annotations

from typing import Any

import pytest
from kube_bodies import service

from edgemesh.wire.kubernetes import FieldError, validate

CONTRADICTIONS = [
    ({"ports": []}, "spec.ports: expected at least one port, got none"),
    (
        {"type": "ExternalName", "clusterIP": ""},
        "spec.externalName: required for type ExternalName, but missing",
    ),
    (
        {"clusterIP": "10.0.0"},
        'spec.clusterIP: expected an IPv4 or IPv6 address, got "10.0.0"',
    ),
    (
        {"clusterIPs": ["10.96.0.10", "x"]},
        'spec.clusterIPs[1]: expected an IPv4 or IPv6 address, got "x"',
    ),
    (
        {"externalIPs": ["192.0.2.1", ""]},
        'spec.externalIPs[1]: expected an IPv4 or IPv6 address, got ""',
    ),
    (
        {"clusterIPs": ["10.96.0.10", "10.96.0.11"]},
        "spec.clusterIPs: expected each address family once, got IPv4 and IPv4",
    ),
    (
        {"ipFamilies": ["IPv4", "IPv4"]},
        "spec.ipFamilies: expected each address family once, got IPv4 and IPv4",
    ),
    (
        {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"},
        "spec.ipFamilies: expected one address family for SingleStack, got IPv4 and IPv6",
    ),
    (
        {"clusterIPs": ["10.96.0.11"]},
        "spec.clusterIPs[0]: expected spec.clusterIP, which is 10.96.0.10, got 10.96.0.11",
    ),
    (
        {"ipFamilies": ["IPv6"]},
        "spec.clusterIP: expected an IPv6 address as in ipFamilies, got 10.96.0.10",
    ),
    (
        {"ipFamilies": ["IPv6", "IPv4"], "clusterIPs": ["10.96.0.10", "fd00::1"]},
        "spec.clusterIPs[0]: expected an IPv6 address as in ipFamilies, got 10.96.0.10",
    ),
    (
        {"ports": [{"port": 80, "name": "a"}, {"port": 81}]},
        "spec.ports[1].name: required when there are several ports, but missing",
    ),
    (
        {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]},
        'spec.ports[1].name: expected a name used once, got "a"',
    ),
    (
        {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]},
        "spec.ports[1].port: expected a number used once for TCP, got 80",
    ),
]


@pytest.mark.parametrize(("spec", "message"), CONTRADICTIONS)
def test_a_contradiction_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        validate(service(**spec))
    assert str(caught.value) == message


def test_a_load_balancers_address_is_checked() -> None:
    body = service()
    body["status"] = {"loadBalancer": {"ingress": [{"hostname": "lb.example"}, {"ip": "x"}]}}
    with pytest.raises(FieldError, match=r"^status\.loadBalancer\.ingress\[1\]\.ip: "):
        validate(body)


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None", "clusterIPs": ["None"], "ports": []},
        {"clusterIP": "", "type": "ExternalName", "externalName": "example.org", "ports": []},
        {"clusterIPs": ["10.96.0.10", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"]},
        {"clusterIP": "", "clusterIPs": ["fd00::1"], "ipFamilies": ["IPv6"]},
        {"clusterIP": "FD00::1", "clusterIPs": ["fd00::1"]},
        {"ports": [{"port": 53, "name": "a"}, {"port": 53, "name": "b", "protocol": "UDP"}]},
    ],
)
def test_what_kubernetes_takes_is_taken(spec: dict[str, Any]) -> None:
    validate(service(**spec))
