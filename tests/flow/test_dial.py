"""What dialling promises: the next endpoint gets its chance, and a failure has a name."""

from __future__ import annotations

import socket

import pytest
import trio
from h2.connection import H2Connection
from http1_peers import GET
from plane_fixtures import Peer, running, waiting_to_be_accepted

from edgemesh.model.services import Endpoint, Source

pytestmark = pytest.mark.root

# As long as no machine stands still: what is slow by chance is not taken for silent.
TIMEOUT = 30.0


async def test_after_a_refusal_the_next_endpoint_is_tried_at_once() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server, dead = world.serve(), world.closed()
        world.service(dead, server.endpoint)
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"hello")
        assert await endpoint.receive(5) == b"hello"
        client.reset()
        report = await world.report()
        assert report.attempts == 2
        assert report.endpoint == f"127.0.0.1:{server.endpoint.port}"
        assert report.duration < TIMEOUT


async def test_after_the_connect_timeout_the_next_endpoint_is_tried() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server, full = world.serve(), await world.full()
        world.service(full, server.endpoint)
        client = await world.call()
        await client.send(b"hello")
        await world.until(lambda: world.plane.flows)
        await world.comes_to_rest()
        world.skip(TIMEOUT)
        endpoint = await server.accept()
        assert await endpoint.receive(5) == b"hello"
        client.reset()
        assert (await world.report()).attempts == 2


def http2_request() -> bytes:
    connection = H2Connection()
    connection.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "web"), (":path", "/")]
    connection.send_headers(1, fields, end_stream=True)
    return connection.data_to_send()


@pytest.mark.parametrize(
    ("protocol", "said", "heard"),
    [("", GET, GET), ("http", GET, GET), ("http2", http2_request(), b"PRI * HTTP/2.0\r\n")],
    ids=["relayed", "http", "http2"],
)
async def test_an_endpoint_that_was_in_time_is_not_blamed_when_we_come_late(
    protocol: str, said: bytes, heard: bytes
) -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server, client, plane = world.serve(), world.client(), world.plane
        world.service(server.endpoint, application_protocol=protocol)
        client.raw.connect_ex(("127.0.0.1", world.port))
        assert client.send_what_fits(said) == len(said)
        # Nothing here waits, so turns and deadlines come in the order of this text.
        while not any(one.connections for one in plane.decider.traffic.upstreams()):
            plane.reactor.turn()
        world.skip(TIMEOUT + 0.1)
        for timer in plane.reactor._wheel.advance(plane.reactor.clock()):
            assert timer.owner is not None
            assert timer.callback is not None
            plane.reactor.call(timer.owner, timer.callback)
        endpoint = await server.accept()
        assert await endpoint.receive(len(heard)) == heard


async def test_the_last_words_of_an_endpoint_that_is_gone_before_we_look_are_passed_on() -> None:
    async with running() as world:
        server, client, plane = world.serve(), world.client(), world.plane
        world.service(server.endpoint)
        client.raw.connect_ex(("127.0.0.1", world.port))
        assert client.send_what_fits(b"hello") == len(b"hello")
        while not any(one.connections for one in plane.decider.traffic.upstreams()):
            plane.reactor.turn()
        while not waiting_to_be_accepted(server.sock):
            pass
        [flow] = plane.flows
        listener: socket.socket = server.sock._sock  # type: ignore[attr-defined]
        accepted = Peer(trio.socket.from_stdlib_socket(listener.accept()[0]))
        assert accepted.send_what_fits(b"goodbye") == len(b"goodbye")
        accepted.reset()
        assert flow.upstream is not None
        while not plane.reactor.is_ready(flow.upstream.fileno(), 0):
            pass
        assert await client.receive_until_reset() == b"goodbye"
        report = await world.report()
        assert (report.ending, report.attempts) == ("endpoint-reset", 1)


async def test_when_all_refuse_the_client_is_reset_and_the_report_names_the_last_and_why() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        dead = [world.closed() for _ in range(3)]
        world.service(*dead)
        await world.call_in_vain()
        report = await world.report()
        assert report.ending == "connect-failed"
        assert report.reason == f"127.0.0.1:{dead[2].port}: Connection refused"
        assert report.attempts == 3
        assert (report.bytes_sent, report.bytes_received) == (0, 0)


async def test_when_nobody_answers_the_report_says_timed_out() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        full = await world.full()
        world.service(full)
        client = await world.call()
        await world.until(lambda: world.plane.flows)
        world.skip(TIMEOUT)
        assert await client.receive_until_reset() == b""
        report = await world.report()
        assert report.ending == "connect-timeout"
        assert report.reason == f"127.0.0.1:{full.port}: Connection timed out"


async def test_no_more_endpoints_are_tried_than_the_setting_allows() -> None:
    async with running(connect_attempts=2) as world:
        world.service(*(world.closed() for _ in range(5)))
        await world.call_in_vain()
        assert (await world.report()).attempts == 2


async def test_without_endpoints_the_client_is_reset_and_the_refusal_has_its_reason() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        world.service()
        await world.call_in_vain()
        report = await world.report()
        assert (report.ending, report.reason) == ("refused", "no-endpoint")
        assert world.plane.metrics.refusals.by_reason == {"no-endpoint": 1}


async def test_the_report_says_who_called_what_and_where_it_went() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server = world.serve()
        world.service(
            Endpoint(**{**_fields(server.endpoint), "pod": "default/echo-0"}),
            application_protocol="tcp",
        )
        client = await world.call()
        endpoint = await server.accept()
        await client.send(b"12345")
        assert await endpoint.receive(5) == b"12345"
        await endpoint.send(b"123")
        assert await client.receive(3) == b"123"
        caller = client.address
        client.close()
        endpoint.close()
        report = await world.report()
        assert report.client == f"127.0.0.1:{caller[1]}"
        assert report.destination == f"127.0.0.1:{world.port}"
        assert report.service == "default/echo:80"
        assert report.endpoint == f"127.0.0.1:{server.endpoint.port}"
        assert report.endpoint_pod == "default/echo-0"
        assert (report.transport, report.path) == ("TCP", "relay")
        assert (report.application_protocol, report.attempts) == ("tcp", 1)
        assert (report.bytes_sent, report.bytes_received) == (5, 3)


def _fields(endpoint: Endpoint) -> dict[str, object]:
    return {"address": endpoint.address, "port": endpoint.port}


async def test_a_preserved_source_shows_the_endpoint_the_clients_own_address() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server = world.serve()
        world.service(server.endpoint, source=Source.PRESERVE)
        await world.call(source="127.0.0.77")
        endpoint = await server.accept()
        assert endpoint.remote[0] == "127.0.0.77"


async def test_without_it_the_endpoint_sees_the_node() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        server = world.serve()
        world.service(server.endpoint)
        await world.call(source="127.0.0.77")
        endpoint = await server.accept()
        assert endpoint.remote[0] == "127.0.0.1"


async def test_a_preserved_source_works_over_ipv6_and_gives_way_between_the_families() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        for called, served in (("::1", "::1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")):
            server = world.serve(served)
            world.service(server.endpoint, source=Source.PRESERVE)
            client = await world.call(called)
            endpoint = await server.accept()
            await client.send(b"hello")
            assert await endpoint.receive(5) == b"hello"


async def test_one_client_can_have_more_connections_than_one_source_port_allows() -> None:
    """Ports of preserved sources are shared between different endpoints."""
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        servers = [world.serve() for _ in range(3)]
        world.service(*(server.endpoint for server in servers), source=Source.PRESERVE)
        for server in servers:
            await world.call(source="127.0.0.78")
            endpoint = await server.accept()
            assert endpoint.remote[0] == "127.0.0.78"


async def test_dialled_connections_carry_our_mark_so_that_no_rule_takes_them_again() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        await world.connected()
        (flow,) = world.plane.flows
        await world.until(lambda: flow.upstream)
        assert flow.upstream is not None
        assert flow.upstream.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 0x46


async def test_endpoints_take_turns() -> None:
    async with running(connect_timeout_seconds=TIMEOUT) as world:
        servers = [world.serve() for _ in range(3)]
        world.service(*(s.endpoint for s in servers))
        for server in servers * 2:
            client = await world.call()
            await server.accept()
            assert client
