"""An agent's status reads as a page."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from edgemesh.cli.status_page import duration, size, status_page
from edgemesh.model.status import (
    AgentStatus,
    DiversionNeed,
    FlowStatus,
    InterceptionStatus,
    SnapshotStatus,
    StoreStatus,
)

STATUS = AgentStatus(
    node="edge-1",
    version="0.1.0",
    pid=4242,
    uptime_seconds=11525.7,
    listeners={"tcp": ("0.0.0.0:15001", "[::]:15001"), "udp": ("0.0.0.0:15002",), "dns": ()},
    interception=InterceptionStatus("nft", "tproxy", "both", "open", True, 12),
    store=StoreStatus("sqlite:////var/lib/edgemesh/edgemesh.db", 42, 31),
    snapshot=SnapshotStatus(42, 10, 30),
    flows=FlowStatus(3, 1, 1234, {"no-endpoint": 2}, {"refused": 2, "closed": 1228}),
    paths={"relay": "available"},
    memory_bytes=47_400_000,
    requests={"2xx": 1200, "5xx": 34},
    dns={"cluster": 7, "cached": 12},
)


def test_the_page_tells_everything() -> None:
    assert status_page(STATUS).splitlines() == [
        "edgemesh 0.1.0 on edge-1: up 3 h 12 min, pid 4242, 45.2 MiB",
        "listens tcp   0.0.0.0:15001, [::]:15001",
        "listens udp   0.0.0.0:15002",
        "listens dns   nowhere",
        "interception  nft tproxy, IPv4 and IPv6, fail open, 12 addresses",
        "store         sqlite:////var/lib/edgemesh/edgemesh.db, revision 42, 31 objects",
        "snapshot      revision 42, 10 services, 30 endpoints",
        "flows         3 TCP and 1 UDP open, 1234 in all",
        "  refused     no-endpoint 2",
        "  ended       closed 1228, refused 2",
        "requests      1234 in all: 2xx 1200, 5xx 34",
        "dns           cached 12, cluster 7",
        "path relay    available",
    ]


def test_problems_stand_at_the_end() -> None:
    ill = dataclasses.replace(STATUS, problems=("rules cannot be updated",))
    assert status_page(ill).splitlines()[-1] == "PROBLEM       rules cannot be updated"


def test_missing_rules_are_not_overlooked() -> None:
    without = InterceptionStatus("iptables", "redirect", "ipv4", "closed", False, 0)
    page = status_page(dataclasses.replace(STATUS, interception=without))
    assert "interception  NOT INSTALLED (iptables redirect, ipv4, fail closed)" in page


@pytest.mark.parametrize(
    ("installed", "needed", "need", "said"),
    [
        (
            False,
            False,
            DiversionNeed(balanced=12),
            "rules not needed: all 12 service ports are balanced when sockets connect",
        ),
        (
            True,
            True,
            DiversionNeed(service_ports=2, endpoints=1, balanced=10),
            "fail open, 9 addresses; needed by 2 service ports, 1 limited endpoints",
        ),
        (True, True, DiversionNeed(), "fail open, 9 addresses; needed by what comes"),
        (True, False, DiversionNeed(), "; no longer needed, but by what was diverted before"),
        (False, True, DiversionNeed(1), "NOT INSTALLED (nft tproxy, ipv4, fail open)"),
    ],
)
def test_rules_that_are_installed_as_needed_are_told_with_the_need(
    installed: bool, needed: bool, need: DiversionNeed, said: str
) -> None:
    some = InterceptionStatus(
        "nft",
        "tproxy",
        "ipv4",
        "open",
        installed,
        9,
        install="needed",
        needed=needed,
        need=need,
    )
    page = status_page(dataclasses.replace(STATUS, interception=some))
    [line] = [line for line in page.splitlines() if line.startswith("interception")]
    assert line.endswith(said)


def test_endpoints_that_are_intercepted_are_told_where_there_are_any() -> None:
    some = dataclasses.replace(STATUS.interception, endpoints=2)
    page = status_page(dataclasses.replace(STATUS, interception=some))
    assert "12 addresses, 2 limited endpoints\n" in page


def test_rules_that_are_switched_off_are_not_missing() -> None:
    off = InterceptionStatus("nft", "tproxy", "both", "open", False, 0, enabled=False)
    page = status_page(dataclasses.replace(STATUS, interception=off))
    assert "interception  left to others (netfilter.enabled is false)" in page


def test_counts_that_are_empty_have_no_line() -> None:
    idle = dataclasses.replace(STATUS, flows=FlowStatus(0, 0, 0), requests={}, dns={})
    page = status_page(idle)
    assert not [line for line in page.splitlines() if line.startswith((" ", "requests", "dns"))]


def test_a_status_survives_the_socket() -> None:
    assert msgspec.json.decode(msgspec.json.encode(STATUS), type=AgentStatus) == STATUS


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (3605, "1 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**41, "2048.0 GiB")],
)
def test_a_size_has_the_largest_unit(count: int, text: str) -> None:
    assert size(count) == text
