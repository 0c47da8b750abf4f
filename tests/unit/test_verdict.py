"""The decision about one flow."""

from __future__ import annotations

from random import Random

import pytest

from edgemesh.model.flows import FlowFacts, Refusal, Verdict
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Source, Transport
from edgemesh.policy.balance import BalanceState
from edgemesh.policy.verdict import decide

WEB = ServicePort(
    "default",
    "web",
    "http",
    Transport.TCP,
    80,
    node_port=30080,
    source=Source.PRESERVE,
    endpoints=(Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)),
)
EMPTY = ServicePort("default", "empty", "", Transport.TCP, 80)
NAMES = ServicePort(
    "default",
    "names",
    "",
    Transport.UDP,
    53,
    node_port=30053,
    endpoints=(Endpoint("10.0.0.3", 53),),
)
SNAPSHOT = Snapshot(
    tcp={("10.96.0.1", 80): WEB, ("fd00::1", 80): WEB, ("10.96.0.2", 80): EMPTY},
    udp={("10.96.0.1", 53): NAMES},
    tcp_node_ports={30080: WEB},
    udp_node_ports={30053: NAMES},
)


def decided(address: str, port: int, transport: Transport = Transport.TCP) -> Verdict:
    facts = FlowFacts(transport, ("10.244.0.9", 40000), (address, port))
    return decide(
        SNAPSHOT, facts, BalanceState(), Random(0).random, listener_port=15001, attempts=3
    )


@pytest.mark.parametrize(
    ("address", "port", "transport", "expected"),
    [
        ("10.96.0.1", 80, Transport.TCP, WEB),
        ("fd00::1", 80, Transport.TCP, WEB),
        ("192.0.2.7", 30080, Transport.TCP, WEB),
        ("10.96.0.1", 53, Transport.UDP, NAMES),
        ("192.0.2.7", 30053, Transport.UDP, NAMES),
    ],
)
def test_a_call_of_a_service_is_forwarded_to_its_endpoints(
    address: str, port: int, transport: Transport, expected: ServicePort
) -> None:
    verdict = decided(address, port, transport)
    assert verdict.port is expected
    assert verdict.candidates == expected.endpoints
    assert verdict.source is expected.source
    assert verdict.refusal is None


@pytest.mark.parametrize(
    ("address", "port", "transport", "refusal"),
    [
        ("10.96.0.2", 80, Transport.TCP, Refusal.NO_ENDPOINT),
        ("10.96.0.1", 81, Transport.TCP, Refusal.NO_SERVICE),
        ("10.96.0.1", 80, Transport.UDP, Refusal.NO_SERVICE),
        ("192.0.2.7", 15001, Transport.TCP, Refusal.SELF_DESTINATION),
    ],
)
def test_a_call_that_cannot_be_served_is_refused_with_its_reason(
    address: str, port: int, transport: Transport, refusal: Refusal
) -> None:
    verdict = decided(address, port, transport)
    assert verdict.refusal is refusal
    assert verdict.candidates == ()
