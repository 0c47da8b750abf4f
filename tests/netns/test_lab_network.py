"""What the lab's namespaces and links promise to everything that is built on them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from edgemesh.lab.network import (
    Attachment,
    add_bridge,
    add_namespace,
    add_route,
    command_in,
    connect,
    delete_link,
    delete_namespace,
    isolate_port,
    namespaces,
    set_sysctl,
)
from edgemesh.model.errors import OperatorError

pytestmark = pytest.mark.root


@pytest.fixture
def prefix() -> Iterator[str]:
    unique = f"net{uuid.uuid4().hex[:8]}-"
    yield unique
    for name in namespaces(unique):
        delete_namespace(name)


def answers(namespace: str, address: str) -> bool:
    """Whether the host at an address refuses a connection, which takes one packet each way."""
    call = f"import socket; socket.create_connection(({address!r}, 9), timeout=0.9)"
    done = subprocess.run(
        command_in(namespace, [sys.executable, "-S", "-c", call]),
        capture_output=True,
        check=False,
        text=True,
    )
    return "ConnectionRefusedError" in done.stderr


def addresses_of(namespace: str) -> str:
    shown = command_in(namespace, ["ip", "address", "show"])
    return subprocess.run(shown, capture_output=True, check=True, text=True).stdout


def test_both_families_work_at_once_over_a_link(prefix: str) -> None:
    one, two = f"{prefix}one", f"{prefix}two"
    add_namespace(one)
    add_namespace(two)
    connect(
        Attachment(one, "eth0", ("10.1.0.1/24", "fd01::1/64")),
        Attachment(two, "eth0", ("10.1.0.2/24", "fd01::2/64")),
    )
    assert "tentative" not in addresses_of(one) + addresses_of(two)
    assert answers(one, "10.1.0.2")
    assert answers(two, "fd01::1")


def test_loopback_answers_in_a_new_namespace(prefix: str) -> None:
    add_namespace(f"{prefix}alone")
    assert answers(f"{prefix}alone", "127.0.0.1")
    assert answers(f"{prefix}alone", "::1")


def test_a_bridge_joins_its_ports_in_both_families(prefix: str) -> None:
    switch = f"{prefix}switch"
    add_namespace(switch)
    add_bridge(switch, "br0")
    for number in (1, 2):
        add_namespace(f"{prefix}host{number}")
        connect(
            Attachment(
                f"{prefix}host{number}", "eth0", (f"10.1.0.{number}/24", f"fd01::{number}/64")
            ),
            Attachment(switch, f"port{number}", bridge="br0"),
        )
    assert answers(f"{prefix}host1", "10.1.0.2")
    assert answers(f"{prefix}host1", "fd01::2")


def test_routes_lead_through_a_forwarding_namespace(prefix: str) -> None:
    left, router, right = (f"{prefix}{name}" for name in ("left", "router", "right"))
    for name in (left, router, right):
        add_namespace(name)
    for number, (name, device) in enumerate(((left, "to-left"), (right, "to-right")), start=1):
        connect(
            Attachment(name, "eth0", (f"10.{number}.0.2/24", f"fd0{number}::2/64")),
            Attachment(router, device, (f"10.{number}.0.1/24", f"fd0{number}::1/64")),
        )
        add_route(name, "default", via=f"10.{number}.0.1")
        add_route(name, "default", via=f"fd0{number}::1", device="eth0")
    set_sysctl(router, "net.ipv4.ip_forward", 1)
    set_sysctl(router, "net.ipv6.conf.all.forwarding", 1)
    assert answers(left, "10.2.0.2")
    assert answers(left, "fd02::2")


def test_a_namespace_is_made_once_and_deleted_as_often_as_one_likes(prefix: str) -> None:
    add_namespace(f"{prefix}once")
    with pytest.raises(OperatorError, match="File exists"):
        add_namespace(f"{prefix}once")
    delete_namespace(f"{prefix}once")
    delete_namespace(f"{prefix}once")
    assert namespaces(prefix) == []


def test_a_refused_route_tells_the_kernels_reason(prefix: str) -> None:
    add_namespace(f"{prefix}one")
    with pytest.raises(OperatorError, match="invalid gateway"):
        add_route(f"{prefix}one", "default", via="10.9.9.9")


def test_a_deleted_link_is_gone_at_both_ends_at_once(prefix: str) -> None:
    one, two = f"{prefix}one", f"{prefix}two"
    for name in (one, two):
        add_namespace(name)
    connect(Attachment(one, "left"), Attachment(two, "right"))
    delete_link(one, "left")
    assert "left" not in addresses_of(one)
    assert "right" not in addresses_of(two)


def test_isolated_ports_reach_only_those_that_are_not(prefix: str) -> None:
    switch = f"{prefix}switch"
    add_namespace(switch)
    add_bridge(switch, "br0")
    hosts = {name: f"{prefix}{name}" for name in ("one", "two", "open")}
    for number, (name, namespace) in enumerate(hosts.items(), start=1):
        add_namespace(namespace)
        connect(
            Attachment(namespace, "eth0", (f"10.1.0.{number}/24",)),
            Attachment(switch, f"port{number}", bridge="br0"),
        )
        isolate_port(switch, f"port{number}", isolated=name != "open")

    assert not answers(hosts["one"], "10.1.0.2")
    assert answers(hosts["one"], "10.1.0.3")
    isolate_port(switch, "port1", isolated=False)
    assert answers(hosts["one"], "10.1.0.2")
