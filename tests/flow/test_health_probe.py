"""One probe of a real endpoint on loopback."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import trio
from plane_fixtures import open_descriptors, waiting_to_be_accepted

from edgemesh.model.policies import HealthCheck, ProbeKind
from edgemesh.model.services import Endpoint
from edgemesh.model.settings import Http2Settings, HttpSettings
from edgemesh.proxy.health.probe import Prober

PROBER = Prober(0, HttpSettings(), Http2Settings())
PATIENCE_SECONDS = 20.0
# Does not take an endpoint of a busy machine for one that does not answer.
PATIENT = HealthCheck(timeout_seconds=PATIENCE_SECONDS)
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


@contextmanager
def listening(address: str = "127.0.0.1", backlog: int = 8) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=backlog) as listener:
        yield listener


def endpoint_of(listener: socket.socket) -> Endpoint:
    name = listener.getsockname()
    return Endpoint(name[0], name[1])


async def probe(check: HealthCheck, endpoint: Endpoint) -> str | None:
    """What is found; every descriptor is closed behind it."""
    before = open_descriptors()
    with trio.fail_after(PATIENCE_SECONDS):
        found = await PROBER.ask(check, endpoint)
    assert open_descriptors() == before
    return found


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_connection_is_enough_for_a_tcp_check(address: str) -> None:
    with listening(address) as listener:
        assert await probe(PATIENT, endpoint_of(listener)) == ""
        with closing(listener.accept()[0]) as accepted:
            # It ends in order: a reset would stand in the server's log for every probe.
            assert accepted.recv(1) == b""


async def test_a_refused_connection_is_a_problem() -> None:
    # Nobody listens there, and nobody else can.
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        assert await probe(PATIENT, endpoint_of(kept)) == "Connection refused"


async def test_a_check_may_ask_at_another_port() -> None:
    with listening() as listener:
        asked = endpoint_of(listener)
        check = replace(PATIENT, port=asked.port)
        assert await probe(check, Endpoint("127.0.0.1", 1)) == ""


async def test_who_does_not_answer_in_time_has_a_problem() -> None:
    # Its backlog is full: the kernel drops each SYN.
    with listening(backlog=0) as listener, closing(socket.socket()) as caller:
        caller.connect(listener.getsockname())
        with trio.fail_after(PATIENCE_SECONDS):
            while not waiting_to_be_accepted(listener):  # noqa: ASYNC110 - it has no event
                await trio.sleep(0.001)
        check = HealthCheck(timeout_seconds=0.05)
        assert await probe(check, endpoint_of(listener)) == "no answer within 0.05 s"
    # It takes the connection, and says nothing.
    with listening() as listener:
        check = HealthCheck(ProbeKind.HTTP, timeout_seconds=0.05)
        assert await probe(check, endpoint_of(listener)) == "no answer within 0.05 s"


async def served(listener: socket.socket, answer: bytes) -> None:
    """Answer one request, and end the connection: with a reset when there is no answer."""
    accepted = trio.socket.from_stdlib_socket(listener)
    connection, _ = await accepted.accept()
    with connection:
        await connection.recv(4096)
        if answer:
            await connection.send(answer)
        else:
            linger = b"\1\0\0\0\0\0\0\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


async def found_of(answer: bytes, check: HealthCheck) -> str | None:
    with listening() as listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served, listener, answer)
            found = await PROBER.ask(check, endpoint_of(listener))
    return found


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.1 500 Broken\r\n\r\n", "HTTP status 500"),
        (b"", "the connection was broken off"),
    ],
)
async def test_an_http_check_goes_by_the_answer(answer: bytes, problem: str) -> None:
    assert await found_of(answer, replace(PATIENT, kind=ProbeKind.HTTP)) == problem


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    with Path("/dev/null").open() as lowest:
        free = lowest.fileno()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_descriptor_a_probe_tells_nothing() -> None:
    with no_more_descriptors():
        assert await PROBER.ask(HealthCheck(), Endpoint("127.0.0.1", 1)) is None


@contextmanager
def grpc_server(answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[Endpoint]:
    """A real server that has only the health service."""
    check = grpc.unary_unary_rpc_method_handler(answer)
    handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
    with ThreadPoolExecutor(max_workers=1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((handler,))
        number = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield Endpoint("127.0.0.1", number)
        finally:
            server.stop(None).wait()


def unknown(_request: bytes, context: grpc.ServicerContext) -> bytes:
    context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    raise AssertionError


Answer = Callable[[bytes, grpc.ServicerContext], bytes]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda _request, _context: SERVING, ""),
        (lambda _request, _context: NOT_SERVING, "NOT_SERVING"),
        (lambda request, _context: SERVING if request == b"\n\x06orders" else NOT_SERVING, ""),
        (unknown, "grpc-status 5"),
    ],
    ids=["serving", "not serving", "asked by name", "unknown"],
)
async def test_a_grpc_check_goes_by_the_answer_of_a_real_server(
    answer: Answer, problem: str
) -> None:
    check = replace(PATIENT, kind=ProbeKind.GRPC, service="orders")
    with grpc_server(answer) as endpoint:
        assert await PROBER.ask(check, endpoint) == problem


async def test_a_grpc_check_of_a_server_without_the_health_service_finds_a_problem() -> None:
    with ThreadPoolExecutor(max_workers=1) as threads:
        server = grpc.server(threads)
        number = server.add_insecure_port("127.0.0.1:0")
        server.start()
        check = replace(PATIENT, kind=ProbeKind.GRPC)
        found = await PROBER.ask(check, Endpoint("127.0.0.1", number))
        server.stop(None).wait()
    assert found == "grpc-status 12"
