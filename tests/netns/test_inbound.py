"""Calls that reach an endpoint of this node at its own address pass the transport server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from inbound_mesh import ENDPOINT_PORT, inbound_addresses, limits, web_of_this_node
from interception_lab import POD, PORT, SERVER, SERVICE, call
from lab_homes import wait_for
from mesh import Mesh
from mesh_servers import TcpServer, first_line, name_and_client

pytestmark = pytest.mark.root

VERSIONS = (4, 6)
ONE_AT_A_TIME = limits(concurrency={"maxConcurrent": 1, "maxQueue": 0})


@pytest.fixture
def limited(mesh: Mesh) -> Iterator[Mesh]:
    """An agent for a Service whose servers take one call at a time, and such servers."""
    with (
        TcpServer(mesh.network.server, (SERVER[4], ENDPOINT_PORT), name_and_client("endpoint")),
        TcpServer(mesh.network.server, (SERVER[6], ENDPOINT_PORT), name_and_client("endpoint")),
    ):
        mesh.start()
        mesh.apply(*web_of_this_node(appProtocol="tcp"), ONE_AT_A_TIME)
        wait_for(lambda: len(inbound_addresses(mesh)) == 2, "rules follow")
        yield mesh


@pytest.mark.parametrize("version", VERSIONS)
def test_an_endpoint_sees_who_called_it(limited: Mesh, version: int) -> None:
    with closing(call(limited.network.pod, SERVER[version], ENDPOINT_PORT)) as connection:
        assert first_line(connection) == f"endpoint {POD[version]}"
    (flow,) = limited.wait_for_flows(1)
    assert (flow.service, flow.path) == (f"default/web:{PORT}", "relay")


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_of_the_service_and_of_the_endpoint_count_together(
    limited: Mesh, version: int
) -> None:
    with closing(call(limited.network.pod, SERVICE[version], PORT)) as held:
        assert first_line(held).startswith("endpoint")
        assert is_reset(limited, version)
    wait_for(lambda: not is_reset(limited, version), "there is room again")


def is_reset(mesh: Mesh, version: int) -> bool:
    with closing(call(mesh.network.pod, SERVER[version], ENDPOINT_PORT)) as connection:
        try:
            return not first_line(connection)
        except ConnectionResetError:
            return True
