"""What changes around an HTTP Service while it is called without pause costs no request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_programs import nginx, no_request_fails
from interception_lab import PORT, SERVER, SERVICE, output
from mesh import Mesh, endpoints, service

from edgemesh.lab.network import add_route

pytestmark = pytest.mark.root

URL = f"http://{SERVICE[4]}/file"
OTHER = "10.2.0.3"
WEB = service("web", [SERVICE[4]], [("TCP", PORT)], application_protocol="http")


@pytest.fixture
def serving(mesh: Mesh, tmp_path: Path) -> Iterator[Mesh]:
    """An agent, and servers at two addresses and at that of the Service, where kube-proxy led."""
    where = mesh.network.server
    for address in (f"{OTHER}/24", SERVICE[4]):
        output(where, ["ip", "address", "add", address, "dev", "eth0"])
    add_route(mesh.network.node, SERVICE[4], via=SERVER[4])
    (tmp_path / "file").write_text("what is asked for")
    addresses = [(SERVER[4], 8080), (OTHER, 8080), (OTHER, 8081), (SERVICE[4], PORT)]
    with nginx(where, tmp_path, addresses):
        # A client that had to wait for a processor is none that has nothing to ask any more.
        mesh.start(http={"drain_idle_seconds": 20.0})
        mesh.apply(WEB, *endpoints("web", [SERVER[4]], [("TCP", 8080)]))
        yield mesh


def test_endpoints_come_and_go(serving: Mesh) -> None:
    both = endpoints("web", [SERVER[4], OTHER], [("TCP", 8080)])
    another = endpoints("web", [OTHER], [("TCP", 8081)])
    with no_request_fails(serving.network.pod, URL) as load:
        for changed in (both, another) * 5:
            serving.apply(*changed)
            load.goes_on(0.1)


def test_the_agent_is_stopped_and_calls_go_on_without_it(serving: Mesh) -> None:
    with no_request_fails(serving.network.pod, URL) as load:
        serving.stop()
        load.goes_on(0.5)
