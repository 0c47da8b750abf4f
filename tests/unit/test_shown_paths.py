"""What ``edgemesh get services -o wide`` tells about paths."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgemesh.app.paths import service_paths
from edgemesh.cli.paths import path_columns
from edgemesh.model.paths import ALL_PATHS, PathStatus
from edgemesh.model.policies import Path, Policy
from edgemesh.model.services import Service, ServicePort, Snapshot, Transport
from edgemesh.model.status import ServicesQuestion

NOBODY = "nothing that is asked needs the agent"
HEADLESS = "its name leads to the endpoints themselves"
PORT = ServicePort("default", "web", "", Transport.TCP, 80)
RELAYED = replace(PORT, service="db", policy=Policy(path=Path.RELAY))
SERVICES = [
    Service("default", "web", cluster_addresses=("10.96.0.1",), ports=(PORT,)),
    Service("default", "db", headless=True, ports=(RELAYED,)),
    Service("other", "web", cluster_addresses=("10.96.0.2",), ports=(RELAYED,)),
]
SNAPSHOT = Snapshot(
    services={(one.namespace, one.name): one for one in SERVICES},
    tcp={
        (address, port.port): port
        for one in SERVICES
        for address in one.addresses
        for port in one.ports
    },
)


def told(question: ServicesQuestion) -> list[tuple[str, str, str]]:
    pieces = service_paths(SNAPSHOT, ALL_PATHS, question)
    return [(one.service, one.path, one.reason) for piece in pieces for one in piece]


def test_the_agent_tells_the_path_of_each_port_and_why() -> None:
    assert told(ServicesQuestion()) == [
        ("web", "connect", NOBODY),
        ("db", "", HEADLESS),
        ("db", "relay", "its policy asks for it"),
    ]


def test_the_agent_tells_what_another_proxy_serves() -> None:
    left = replace(SNAPSHOT, tcp={})
    (piece, *_) = service_paths(left, ALL_PATHS, ServicesQuestion("default", ("web",)))
    assert (piece[0].path, "another proxy" in piece[0].reason) == ("", True)


def test_the_agent_tells_of_the_services_that_are_asked_for() -> None:
    assert told(ServicesQuestion("default", ("db",))) == [("db", "", HEADLESS)]


def status(port: int, path: str, reason: str, transport: str = "TCP") -> PathStatus:
    return PathStatus("default", "web", port, transport, path, reason)


@pytest.mark.parametrize(
    ("paths", "cells"),
    [
        ([], ["", ""]),
        ([status(80, "relay", "so")], ["relay", "so"]),
        ([status(80, "http", "so"), status(81, "http", "so")], ["http", "so"]),
        ([status(80, "", HEADLESS)], ["-", HEADLESS]),
        (
            [status(53, "http", "a"), status(53, "relay", "b", "UDP")],
            ["53/TCP:http,53/UDP:relay", "53/TCP:a, 53/UDP:b"],
        ),
    ],
)
def test_ports_are_told_apart_where_they_differ(paths: list[PathStatus], cells: list[str]) -> None:
    columns = path_columns({("default", "web"): paths})
    body = {"metadata": {"namespace": "default", "name": "web"}}
    assert [column.text(body) for column in columns] == cells
