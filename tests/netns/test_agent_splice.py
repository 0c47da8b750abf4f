"""Much that is carried by a real agent: spliced, whole, and told in the log."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from interception_lab import SERVER, SERVICE, call
from mesh import Mesh, endpoints, new_mesh, service
from mesh_servers import TcpServer, read_to_end

pytestmark = pytest.mark.root

VERSIONS = (4, 6)
MUCH = random.Random(7).randbytes(16_000_000)


def give_much(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(MUCH)


@pytest.fixture(scope="module", params=["tproxy", "redirect"])
def serving(request: pytest.FixtureRequest) -> Iterator[Mesh]:
    """An agent that serves, in both modes."""
    with new_mesh() as mesh, ExitStack() as running:
        for address in SERVER.values():
            running.enter_context(TcpServer(mesh.network.server, (address, 8080), give_much))
        mesh.start(netfilter={"mode": request.param})
        mesh.apply(
            service("web", list(SERVICE.values()), [("TCP", 80)]),
            *endpoints("web", list(SERVER.values()), [("TCP", 8080)]),
        )
        yield mesh


@pytest.mark.parametrize("version", VERSIONS)
def test_a_download_arrives_whole_and_the_log_says_that_it_was_spliced(
    serving: Mesh, version: int
) -> None:
    before = len(serving.flows())
    with closing(call(serving.network.pod, SERVICE[version], 80)) as connection:
        connection.sendall(b"?")
        assert read_to_end(connection) == MUCH
    flow = serving.wait_for_flows(before + 1)[-1]
    assert (flow.path, tuple(flow.movers)) == ("splice", ("relay", "splice"))
    assert (flow.bytes_sent, flow.bytes_received, flow.ending) == (1, len(MUCH), "closed")
