"""Which calls have to pass the agent because their endpoints are reached by the bus."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgemesh.model.paths import ALL_PATHS
from edgemesh.model.policies import Observe, Path, Policy
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.model.streams import CLOUD
from edgemesh.policy.observation import observation_hindrance
from edgemesh.policy.paths import choose_path, forwarding_path

HERE = Endpoint("10.244.1.2", 8080, node="node-a")
THERE = Endpoint("10.244.2.2", 8080, node="node-b")
BEYOND = Endpoint("10.96.0.1", 80, node=CLOUD)
WEB = ServicePort("default", "web", "", Transport.TCP, 80, endpoints=(HERE, THERE))
LINKED = ALL_PATHS._replace(by_bus=frozenset({"node-b"}))


def test_an_endpoint_that_is_reached_by_link_keeps_calls_from_being_balanced_by_the_kernel() -> (
    None
):
    assert choose_path(WEB, "", ALL_PATHS).path is Path.CONNECT
    choice = choose_path(WEB, "", LINKED)
    assert choice == (Path.SPLICE, "connect: node-b is reached by link")


def test_where_every_endpoint_is_reached_by_link_all_is_relayed() -> None:
    port = replace(WEB, endpoints=(THERE,))
    assert choose_path(port, "", LINKED) == (
        Path.RELAY,
        "connect: node-b is reached by link; splice: node-b is reached by link",
    )


@pytest.mark.parametrize("endpoints", [(HERE,), ()])
def test_links_to_nodes_without_endpoints_of_the_service_change_nothing(
    endpoints: tuple[Endpoint, ...],
) -> None:
    port = replace(WEB, endpoints=endpoints)
    assert choose_path(port, "", LINKED).path is Path.CONNECT


def test_the_cloud_is_always_reached_by_link() -> None:
    port = replace(WEB, endpoints=(BEYOND,))
    choice = choose_path(port, "", ALL_PATHS)
    assert choice.path is Path.RELAY
    assert "the cloud is reached by link" in choice.reason


def test_requests_of_streams_are_not_counted_by_the_kernel() -> None:
    observed = Policy(path=Path.SPLICE, observe=Observe.HTTP)
    port = replace(WEB, application_protocol="http", policy=observed)
    assert forwarding_path(port, "http", ALL_PATHS) is Path.SPLICE
    assert forwarding_path(port, "http", LINKED) is Path.HTTP
    assert observation_hindrance(port, "http", LINKED) == "node-b is reached by link"
