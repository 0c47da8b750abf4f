"""The built-in apps, each over real sockets on both families."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from interception_lab import inside

from edgemesh.lab.network import command_in
from edgemesh.lab.processes import Process, end, last_line, start

pytestmark = pytest.mark.root

HOSTS = ("127.0.0.1", "::1")
Start = Callable[..., None]


@pytest.fixture
def start_app(lone_node: str, tmp_path: Path) -> Iterator[Start]:
    """Start an app in the test's namespace; returns when it says that it is ready."""
    started: list[Process] = []

    def start_one(app: str, *arguments: str, **environment: str) -> None:
        reader, writer = os.pipe()
        log = tmp_path / "log"
        argv = [sys.executable, "-m", f"edgemesh.lab.apps.{app}", *arguments]
        variables = {"PATH": os.environ["PATH"], **environment}
        started.append(start(command_in(lone_node, argv), log, variables, ready=writer))
        os.close(writer)
        with os.fdopen(reader, "rb") as word:
            assert word.read() == b"ready\n", last_line(log)

    yield start_one
    trio.run(end, started, 5.0)


def connect(namespace: str, host: str, port: int) -> socket.socket:
    return inside(namespace, lambda: socket.create_connection((host, port), timeout=10))


def ask(namespace: str, host: str, port: int, data: bytes) -> bytes:
    """One datagram there, one back."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with inside(namespace, lambda: socket.socket(family, socket.SOCK_DGRAM)) as asking:
        asking.settimeout(10)
        asking.connect((host, port))
        asking.send(data)
        return asking.recv(65535)


@pytest.mark.parametrize("host", HOSTS)
def test_serve_hostname_answers_request_after_request_on_one_connection(
    lone_node: str, start_app: Start, host: str
) -> None:
    start_app("serve_hostname", HOSTNAME="web-1")
    connection = http.client.HTTPConnection(host, 9376)
    connection.sock = connect(lone_node, host, 9376)
    for method, body in (("GET", None), ("POST", b"x" * 100_000), ("GET", None)):
        connection.request(method, "/anything", body)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"web-1\n")
    connection.request("HEAD", "/")
    response = connection.getresponse()
    assert (response.headers["content-length"], response.read()) == ("6", b"")
    connection.close()


def test_serve_hostname_closes_when_the_client_asks_for_it(
    lone_node: str, start_app: Start
) -> None:
    start_app("serve_hostname", "--port", "80", HOSTNAME="web-1")
    with connect(lone_node, "127.0.0.1", 80) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.endswith(b"connection: close\r\n\r\nweb-1\n")


def call(
    namespace: str, target: str, method: str = "GET", **fields: str
) -> tuple[int, str | None, bytes]:
    """One request: status, the answering pod, and the body."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", 8080)) as connection:
        connection.sock = connect(namespace, "127.0.0.1", 8080)
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers["x-pod"], response.read()


def test_fallible_answers_with_its_version_and_its_name(lone_node: str, start_app: Start) -> None:
    start_app("fallible", HOSTNAME="orders-1", VERSION="v2")
    assert call(lone_node, "/any?thing") == (200, "orders-1", b"v2 orders-1\n")


def test_fallible_fails_for_one_request_as_its_header_says(
    lone_node: str, start_app: Start
) -> None:
    start_app("fallible", HOSTNAME="orders-1")
    assert call(lone_node, "/", x_fail_status="503")[:2] == (503, "orders-1")
    began = time.monotonic()
    assert call(lone_node, "/", x_fail_delay="0.2")[0] == 200
    assert time.monotonic() - began >= 0.2
    with pytest.raises(ConnectionResetError):
        call(lone_node, "/", x_fail_reset="yes")
    assert call(lone_node, "/")[0] == 200


def test_fallible_fails_from_control_to_control_and_counts_requests(
    lone_node: str, start_app: Start
) -> None:
    start_app("fallible", HOSTNAME="orders-1")
    assert call(lone_node, "/control?status=500", "PUT")[0] == 200
    assert [call(lone_node, "/")[0] for _ in range(2)] == [500, 500]
    assert call(lone_node, "/", x_fail_status="200")[0] == 200
    assert call(lone_node, "/control?reset=yes", "PUT")[0] == 200
    with pytest.raises(ConnectionResetError):
        call(lone_node, "/")
    assert call(lone_node, "/control", "PUT")[0] == 200
    assert call(lone_node, "/")[0] == 200
    assert call(lone_node, "/control")[2] == b'{"requests": 5}\n'


@pytest.mark.parametrize("query", ["status=99", "status=many", "delay=-1", "delay=61"])
def test_fallible_does_not_take_what_makes_no_sense(
    lone_node: str, start_app: Start, query: str
) -> None:
    start_app("fallible", HOSTNAME="orders-1")
    assert call(lone_node, f"/control?{query}", "PUT")[0] == 400
    assert call(lone_node, "/")[0] == 200


@pytest.mark.parametrize("host", HOSTS)
def test_serve_hostname_answers_datagrams_with_the_flags_of_the_real_one(
    lone_node: str, start_app: Start, host: str
) -> None:
    start_app("serve_hostname", "--udp=true", "--http=false", HOSTNAME="web-1")
    assert ask(lone_node, host, 9376, b"who?") == b"web-1\n"
    with pytest.raises(ConnectionRefusedError):
        connect(lone_node, host, 9376)


@pytest.mark.parametrize("host", HOSTS)
def test_line_echo_speaks_first_and_then_echoes(
    lone_node: str, start_app: Start, host: str
) -> None:
    told = {"POD_NAME": "echo-1", "POD_NAMESPACE": "shop", "POD_IP": "10.244.1.2"}
    start_app("line_echo", TCP_PORT="2701", NODE_NAME="edge-1", SERVICE_ACCOUNT="default", **told)
    with connect(lone_node, host, 2701) as connection:
        stream = connection.makefile("rwb")
        assert [stream.readline() for _ in range(5)] == [
            b"Welcome, you are connected to node edge-1.\n",
            b"Running on Pod echo-1.\n",
            b"In namespace shop.\n",
            b"With IP address 10.244.1.2.\n",
            b"Service default.\n",
        ]
        for line in (b"one\n", b"two\n"):
            stream.write(line)
            stream.flush()
            assert stream.readline() == line


@pytest.mark.parametrize("host", HOSTS)
def test_byte_echo_sends_everything_back_after_a_half_close(
    lone_node: str, start_app: Start, host: str
) -> None:
    start_app("byte_echo", "--port", "7000")
    sent = os.urandom(8 * 1024 * 1024)
    with connect(lone_node, host, 7000) as connection:

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = connection.makefile("rb").read()
        sender.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("size", [0, 1, 65507])
def test_byte_echo_sends_datagrams_of_every_size_back(
    lone_node: str, start_app: Start, host: str, size: int
) -> None:
    start_app("byte_echo", "--port", "7000")
    sent = os.urandom(size)
    assert ask(lone_node, host, 7000, sent) == sent


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_websocket_echo_sends_messages_of_every_length_form_back(
    lone_node: str, start_app: Start, size: int
) -> None:
    start_app("websocket_echo", "--port", "8080")
    payload = os.urandom(size)
    with connect(lone_node, "::1", 8080) as connection:
        stream = upgraded(connection)
        assert exchange(stream, 0x82, payload) == (0x82, payload)
        assert exchange(stream, 0x89, b"still there?") == (0x8A, b"still there?")
        assert exchange(stream, 0x88, b"\x03\xe8") == (0x88, b"\x03\xe8")
        assert stream.read() == b""


def test_websocket_echo_refuses_a_plain_request(lone_node: str, start_app: Start) -> None:
    start_app("websocket_echo", "--port", "8080")
    with connect(lone_node, "127.0.0.1", 8080) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 426 ")


def test_an_app_outlives_a_connection_that_is_reset(lone_node: str, start_app: Start) -> None:
    start_app("byte_echo", "--port", "7000")
    with connect(lone_node, "127.0.0.1", 7000) as connection:
        connection.sendall(b"x" * 1_000_000)
        # Closing with unread data and no lingering sends RST (tcp(7), SO_LINGER).
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(lone_node, "127.0.0.1", 7000, b"alive?") == b"alive?"
    with connect(lone_node, "127.0.0.1", 7000) as connection:
        connection.sendall(b"alive?")
        assert connection.recv(6) == b"alive?"


def upgraded(connection: socket.socket) -> socket.SocketIO:
    stream = connection.makefile("rwb")
    key = base64.b64encode(os.urandom(16))
    stream.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    stream.flush()
    assert stream.readline().startswith(b"HTTP/1.1 101 ")
    fields = dict(line.strip().split(b": ") for line in iter(stream.readline, b"\r\n"))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert fields[b"sec-websocket-accept"] == base64.b64encode(digest)
    return stream


def exchange(stream: socket.SocketIO, first: int, payload: bytes) -> tuple[int, bytes]:
    """Send one masked frame; return first byte and payload of the one that comes back."""
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, 0xFE, length)
    else:
        head = struct.pack("!BBQ", first, 0xFF, length)
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    stream.write(head + mask + masked)
    stream.flush()
    answered, short = stream.read(2)
    if short == 126:
        (short,) = struct.unpack("!H", stream.read(2))
    elif short == 127:
        (short,) = struct.unpack("!Q", stream.read(8))
    return answered, stream.read(short)
