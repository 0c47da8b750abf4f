"""What strangers send to the ports of a running cloud and of a node: refused, counted, survived."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import NamedTuple

import pytest
from cloud_process import ADDRESS, CloudProcess, bus, cloud_of, wait_until_synced
from interception_lab import NODE, call, output
from lab_homes import wait_for
from mesh import Mesh, new_mesh, web, web_and_bystander, who_answers
from pki_fixtures import a_node, an_authority

from edgemesh.bus.pki.identity import Identity

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

_HUB, _ENROLMENT, _REST, _LINK = 10000, 10002, 9443, 10006
# How long strangers may take until they are known for what they are: for those who never come to
# the point, and for those who do, of whom nothing else may be counted on a machine that stands
# still for a while.
_SHORT_SECONDS, _LONG_SECONDS = 2.0, 30.0
_PATIENCE_SECONDS = 20.0
# RFC 8446 sections 5.1 and 4.1.2: a record of a handshake that goes on, and a ClientHello in it.
_BEGUN_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
_GARBAGE = bytes(range(256)) * 8
_BEGUN_REQUEST = b"POST /n1/default/x HTTP/1.1\r\nHost: cloud\r\nContent-"


class Joined(NamedTuple):
    """A cloud and a node that is connected to it."""

    mesh: Mesh
    cloud: CloudProcess

    def refused(self, reason: str) -> int:
        return int(self.cloud.status()["refused"].get(reason, 0))

    def refused_links(self) -> int:
        text = output(self.mesh.network.node, ["curl", "-s", "http://127.0.0.1:15020/metrics"])
        (line,) = [one for one in text.splitlines() if one.startswith("edgemesh_links_refused")]
        return int(float(line.split()[-1]))

    def dial(self, port: int) -> socket.socket:
        address = NODE[4] if port == _LINK else ADDRESS
        return call(self.mesh.network.pod, address, port)


@pytest.fixture(scope="module", params=[_LONG_SECONDS], ids=["patient"])
def joined(request: pytest.FixtureRequest) -> Iterator[Joined]:
    with new_mesh() as mesh, web_and_bystander(mesh), cloud_of(mesh) as cloud:
        cloud.start(cloud={"handshake_seconds": request.param, "name": "c1", "names": [ADDRESS]})
        cloud.write_token("node")
        cloud.apply(*web())
        mesh.start(bus=bus(cloud, silence_seconds=20, dial_seconds=request.param))
        wait_until_synced(mesh)
        yield Joined(mesh, cloud)


@pytest.fixture(autouse=True)
def _unharmed(joined: Joined) -> Iterator[None]:
    """Whatever came, the node stays connected and calls are served."""
    yield
    assert who_answers(joined.mesh.network.pod) == "endpoint"
    assert joined.cloud.connected() == 1


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """The right name, from an authority that nobody here knows."""
    return a_node(an_authority(), tmp_path_factory.mktemp("foreign"), "node")


def until_closed(sock: socket.socket) -> bytes:
    """What the other end says before it ends the connection."""
    sock.settimeout(_PATIENCE_SECONDS)
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(
    ("port", "data", "reason"),
    [
        (_HUB, _GARBAGE, "no-tls"),
        (_HUB, b"GET / HTTP/1.1\r\n\r\n", "no-tls"),
        (_ENROLMENT, _GARBAGE, "certificate"),
        (_ENROLMENT, b"GET /ca.crt HTTP/1.1\r\n\r\n", "certificate"),
        (_REST, _GARBAGE, "malformed-request"),
        (_REST, _BEGUN_HELLO, "malformed-request"),
        (_LINK, _GARBAGE, "link"),
        (_LINK, b"GET / HTTP/1.1\r\n\r\n", "link"),
    ],
)
def test_what_is_not_spoken_at_a_port_is_refused(
    joined: Joined, port: int, data: bytes, reason: str
) -> None:
    counted = counter_of(joined, reason)
    before = counted()
    with closing(joined.dial(port)) as sock:
        sock.sendall(data)
        # Half closed: nothing more will come that could make sense of it.
        with suppress(OSError):  # The other end may have closed already.
            sock.shutdown(socket.SHUT_WR)
        until_closed(sock)
    wait_for(lambda: counted() == before + 1, f"{reason} is counted", _PATIENCE_SECONDS)


@pytest.mark.parametrize("joined", [_SHORT_SECONDS], ids=["hurried"], indirect=True)
@pytest.mark.parametrize(
    ("port", "data", "reason"),
    [
        (_HUB, _BEGUN_HELLO, "handshake-timeout"),
        (_ENROLMENT, _BEGUN_HELLO, "handshake-timeout"),
        (_REST, _BEGUN_REQUEST, "malformed-request"),
        (_LINK, _BEGUN_HELLO, "link"),
    ],
)
def test_who_never_comes_to_the_point_is_let_go(
    joined: Joined, port: int, data: bytes, reason: str
) -> None:
    counted = counter_of(joined, reason)
    before = counted()
    with closing(joined.dial(port)) as sock:
        sock.sendall(data)
        end = time.monotonic() + _PATIENCE_SECONDS
        sock.settimeout(0.3)
        while counted() == before:
            assert time.monotonic() < end, "it is still waited for"
            drip(sock)
        until_closed(sock)


def drip(sock: socket.socket) -> None:
    """Say one byte more, and listen for a moment."""
    try:
        sock.send(b"x")
        sock.recv(65536)
    except (TimeoutError, ConnectionResetError, BrokenPipeError):
        return


@pytest.mark.parametrize(
    ("port", "protocol", "reason"),
    [(_HUB, "", "certificate"), (_HUB, "edgemesh-link/1", ""), (_LINK, "edgemesh-link/1", "link")],
)
def test_a_certificate_of_another_authority_opens_no_port(
    joined: Joined, foreign: Identity, port: int, protocol: str, reason: str
) -> None:
    counted = counter_of(joined, reason)
    before = counted()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(foreign.certificate, foreign.key)
    context.set_alpn_protocols([protocol] if protocol else [])
    with closing(joined.dial(port)) as sock:
        sock.settimeout(_PATIENCE_SECONDS)
        assert not is_answered(context, sock)
    if reason:
        wait_for(lambda: counted() == before + 1, f"{reason} is counted", _PATIENCE_SECONDS)


def is_answered(context: ssl.SSLContext, sock: socket.socket) -> bool:
    """Whether somebody who is let in gets a word."""
    try:
        with context.wrap_socket(sock) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
            # With TLS 1.3 a client hears of its refusal when it reads (RFC 8446 section 4.4.2.4).
            return bool(tls.recv(1))
    except (ssl.SSLError, ConnectionResetError):
        return False


def counter_of(joined: Joined, reason: str) -> Callable[[], int]:
    return joined.refused_links if reason == "link" else lambda: joined.refused(reason)
