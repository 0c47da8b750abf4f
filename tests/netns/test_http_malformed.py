"""Malformed HTTP/1 over real connections through a real agent: refused, and never passed on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import http1_cases
import http1_framing_cases
import http1_response_cases
import pytest
from http1_cases import HOST, Case, message, post
from http1_framing_cases import BODIES, Body
from interception_lab import PATIENCE_SECONDS, PORT, SERVER, SERVICE, call
from lab_homes import wait_for
from mesh import Mesh, endpoints, new_mesh, service
from mesh_servers import TcpServer, read_to_end

pytestmark = pytest.mark.root

REQUESTS = [*http1_cases.REQUESTS, *http1_framing_cases.REQUESTS]
# A connection that begins with HTTP/2's preface is served as HTTP/2.
FIRST_REQUESTS = [case for case in REQUESTS if case.name != "http2"]
CHUNKED = b"Transfer-Encoding: chunked"
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ALIVE = message(b"GET /alive HTTP/1.1", HOST)


class Endpoint:
    """Answers whatever comes, head by head.

    Attributes:
        answer: to the next requests.
        received: all that came, on whatever connections, since it was taken last.
        closed: counts connections that have ended.
    """

    def __init__(self) -> None:
        self.answer = WELL
        self.received: list[bytes] = []
        self.closed = threading.Semaphore(0)

    def handle(self, connection: socket.socket) -> None:
        unread = b""
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                self.received.append(data)
                unread += data
                while b"\r\n\r\n" in unread:
                    unread = unread.partition(b"\r\n\r\n")[2]
                    connection.sendall(self.answer)
        self.closed.release()

    def take(self) -> bytes:
        received, self.received = b"".join(self.received), []
        return received


Serving = tuple[Mesh, Endpoint]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    endpoint = Endpoint()
    web = service("web", [SERVICE[4]], [("TCP", PORT)], application_protocol="http")
    with new_mesh() as mesh, TcpServer(mesh.network.server, (SERVER[4], 8080), endpoint.handle):
        mesh.start()
        mesh.apply(web, *endpoints("web", [SERVER[4]], [("TCP", 8080)]))
        yield mesh, endpoint


@pytest.fixture
def mesh(serving: Serving) -> Mesh:
    return serving[0]


@pytest.fixture
def endpoint(serving: Serving) -> Endpoint:
    made = serving[1]
    made.answer = WELL
    made.closed = threading.Semaphore(0)
    made.take()
    return made


def say(mesh: Mesh, data: bytes) -> bytes:
    """Say something and hear all that is answered until the connection is closed."""
    with closing(call(mesh.network.pod, SERVICE[4])) as connection:
        # A refusal may come, and the connection end, before all is said.
        with suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(data)
        return read_to_end(connection)


def read_answer(connection: socket.socket) -> bytes:
    """One answer with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data
    return data


def by_name(case: Case | Body) -> str:
    return case.name


def is_refusal(answer: bytes, status: int) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 %d " % status)
        and b"\r\nx-edgemesh-reason: malformed\r\n" in head
        and b"\r\nconnection: close" in head
        and body.startswith(b"edgemesh: malformed: ")
    )


@pytest.mark.parametrize("case", FIRST_REQUESTS, ids=by_name)
def test_a_malformed_request_is_refused_and_reaches_no_endpoint(
    mesh: Mesh, endpoint: Endpoint, case: Case
) -> None:
    assert is_refusal(say(mesh, case.data), case.status)
    with closing(call(mesh.network.pod, SERVICE[4])) as connection:
        connection.sendall(ALIVE)
        assert read_answer(connection) == WELL
    assert endpoint.take() == ALIVE


@pytest.mark.parametrize(
    "case", [case for case in REQUESTS if len(case.data) < 1000][::4], ids=by_name
)
def test_what_follows_a_good_request_is_refused_after_its_answer(
    mesh: Mesh, endpoint: Endpoint, case: Case
) -> None:
    answers = say(mesh, ALIVE + case.data)
    assert answers.startswith(WELL)
    assert is_refusal(answers.removeprefix(WELL), case.status)
    assert endpoint.take() == ALIVE


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_body_is_refused_and_nothing_behind_it_is_served(
    mesh: Mesh, endpoint: Endpoint, case: Body
) -> None:
    endpoint.answer = b""
    assert is_refusal(say(mesh, post(CHUNKED, body=case.data) + ALIVE), 400)
    assert ALIVE not in endpoint.take()


def test_a_chunked_body_that_turns_out_malformed_ends_its_connection_to_the_endpoint(
    mesh: Mesh, endpoint: Endpoint
) -> None:
    endpoint.answer = b""
    with closing(call(mesh.network.pod, SERVICE[4])) as connection:
        begun = post(CHUNKED, body=b"1\r\na\r\n")
        connection.sendall(begun)
        wait_for(lambda: sum(map(len, endpoint.received)) == len(begun), "the head is there")
        connection.sendall(b"-1\r\n" + ALIVE)
        assert is_refusal(read_to_end(connection), 400)
    assert endpoint.closed.acquire(timeout=PATIENCE_SECONDS)
    assert endpoint.take() == begun


@pytest.mark.parametrize("case", http1_response_cases.RESPONSES, ids=by_name)
def test_a_malformed_response_becomes_502_and_its_connection_is_not_used_again(
    mesh: Mesh, endpoint: Endpoint, case: Case
) -> None:
    endpoint.answer = case.data
    with closing(call(mesh.network.pod, SERVICE[4])) as connection:
        connection.sendall(ALIVE)
        answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"\r\nx-edgemesh-reason: endpoint-failed\r\n" in answer
        assert endpoint.closed.acquire(timeout=PATIENCE_SECONDS)
        endpoint.answer = WELL
        connection.sendall(ALIVE)
        assert read_answer(connection) == WELL


@pytest.mark.parametrize("case", BODIES, ids=by_name)
def test_a_malformed_chunked_response_is_broken_off_by_a_reset(
    mesh: Mesh, endpoint: Endpoint, case: Body
) -> None:
    endpoint.answer = message(b"HTTP/1.1 200 OK", CHUNKED, body=case.data)
    with pytest.raises(ConnectionResetError):
        say(mesh, ALIVE)
    assert endpoint.closed.acquire(timeout=PATIENCE_SECONDS)


def test_bytes_behind_a_response_are_not_taken_for_the_next_one(
    mesh: Mesh, endpoint: Endpoint
) -> None:
    endpoint.answer = WELL + WELL.replace(b"ok", b"no")
    with closing(call(mesh.network.pod, SERVICE[4])) as connection:
        for _ in range(3):
            connection.sendall(ALIVE)
            assert read_answer(connection) == WELL
            assert endpoint.closed.acquire(timeout=PATIENCE_SECONDS)
