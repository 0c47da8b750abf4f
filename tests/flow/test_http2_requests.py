"""Requests of HTTP/2 go to endpoints stream by stream, and come back whole."""

from __future__ import annotations

import httpx2
import pytest
import trio
from http2_peers import GET, GRPC, POST, H2Peer, h2_asked, h2_client, h2_endpoint, h2_pair
from plane_fixtures import PATIENCE_SECONDS, running

pytestmark = pytest.mark.root


async def test_a_request_and_its_response_arrive_as_they_were_sent() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin((*POST, ("x-one", "1"), ("x-one", "2")))
        await client.say(stream_id, b"question")
        client.h2.send_headers(stream_id, [("x-trailer", "t")], end_stream=True)
        await client.send()
        endpoint = await h2_endpoint(server)
        asked = endpoint.heard[await endpoint.next_request()]
        assert asked.head == {**dict(POST), "x-one": "2"}
        assert (asked.body, asked.trailers) == (b"question", {"x-trailer": "t"})
        await endpoint.respond(1, ((":status", "203"), ("a", "b")), b"answer", (("x-end", "e"),))
        heard = await client.over(stream_id)
        assert heard.head == {":status": "203", "a": "b"}
        assert (heard.body, heard.trailers, heard.reset) == (b"answer", {"x-end": "e"}, None)


async def test_requests_of_one_connection_are_spread_over_the_endpoints() -> None:
    async with running() as world:
        servers = [world.serve(), world.serve()]
        world.service(*(one.endpoint for one in servers), application_protocol="http2")
        client = await h2_client(world)
        for _ in range(6):
            await client.request()
        for server in servers:
            endpoint = await h2_endpoint(server)
            for _ in range(3):
                await endpoint.respond(await endpoint.next_request())
        for stream_id in (1, 3, 5, 7, 9, 11):
            assert (await client.over(stream_id)).status == "200"


async def test_clients_share_one_connection_to_an_endpoint() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        other = await h2_client(world)
        await client.request((*GET, ("x-client", "one")))
        endpoint = await h2_endpoint(server)
        first = await endpoint.next_request()
        await other.request((*GET, ("x-client", "two")))
        second = await endpoint.next_request()
        assert [endpoint.heard[one].head["x-client"] for one in (first, second)] == ["one", "two"]
        await endpoint.respond(second, body=b"two")
        await endpoint.respond(first, body=b"one")
        assert (await client.over(1)).body == b"one"
        assert (await other.over(1)).body == b"two"


async def test_large_bodies_go_both_ways_at_once() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        body = bytes(range(256)) * 8192
        stream_id = await client.begin()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        endpoint.h2.send_headers(1, [(":status", "200")])
        await endpoint.send()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, client, stream_id, body)
            nursery.start_soon(talk, endpoint, 1, body[::-1])
        assert endpoint.heard[1].body == body
        assert client.heard[stream_id].body == body[::-1]


async def talk(peer: H2Peer, stream_id: int, body: bytes) -> None:
    """Say and hear at the same time, until both are over."""
    while body or not peer.on(stream_id).over:
        room = min(peer.h2.local_flow_control_window(stream_id), 16384) if body else 0
        if room:
            part, body = body[:room], body[room:]
            peer.h2.send_data(stream_id, part, end_stream=not body)
            await peer.send()
        with trio.move_on_after(0 if room else 20):
            await peer.hear()


async def test_interim_responses_go_through() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin((*POST, ("expect", "100-continue")))
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        for status in ("100", "103"):
            endpoint.h2.send_headers(1, [(":status", status)])
        await endpoint.send()
        await client.until(lambda: len(client.on(stream_id).interim) == 2)
        await client.say(stream_id, b"body", end=True)
        assert (await endpoint.over(1)).body == b"body"
        await endpoint.respond(1)
        assert (await client.over(stream_id)).interim == ["100", "103"]


async def test_head_has_a_length_and_no_body() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.request(((":method", "HEAD"), *GET[1:]))
        endpoint = await h2_endpoint(server)
        await endpoint.respond(
            await endpoint.next_request(), ((":status", "200"), ("content-length", "9"))
        )
        heard = await client.over(stream_id)
        assert (heard.head["content-length"], heard.body) == ("9", b"")


async def test_a_response_may_be_over_before_its_request() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        await endpoint.respond(1, body=b"early")
        assert (await client.over(stream_id)).body == b"early"
        await client.say(stream_id, b"late", end=True)
        assert (await endpoint.over(1)).body == b"late"
        again = await client.request()
        await endpoint.respond(await endpoint.next_request())
        assert (await client.over(again)).status == "200"


async def test_an_endpoint_that_wants_no_more_of_a_request_is_obeyed() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        await endpoint.respond(1, ((":status", "413"),))
        await endpoint.reset(1, 0)
        heard = await client.over(stream_id)
        assert heard.status == "413"
        await client.until(lambda: heard.reset is not None)
        assert heard.reset == 0


async def test_a_client_s_cancellation_reaches_the_endpoint() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        await client.reset(1, 8)
        await endpoint.until(lambda: endpoint.heard[1].reset == 8)
        again = await client.request()
        await endpoint.respond(await endpoint.next_request())
        assert (await client.over(again)).status == "200"


async def test_a_client_that_hangs_up_cancels_all_its_requests() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        for _ in range(3):
            await client.request()
        endpoint = await h2_endpoint(server)
        for _ in range(3):
            await endpoint.next_request()
        client.peer.reset()
        await endpoint.until(lambda: all(one.reset == 8 for one in endpoint.heard.values()))
        report = await world.report()
        assert (report.ending, report.path) == ("client-reset", "http")


async def test_a_client_that_closes_in_order_ends_its_flow_in_order() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request(), body=b"x" * 1000)
        await client.over(1)
        client.peer.close()
        report = await world.report()
        assert (report.ending, report.application_protocol) == ("closed", "http2")
        assert report.bytes_received > 1000


async def test_a_broken_client_is_told_why_and_others_go_on() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        other = await h2_client(world)
        await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        await client.peer.send(b"\0\0\0\0\0\0\0\0\0")
        await client.until_closed()
        assert client.goodbye is not None
        assert client.goodbye.error_code == 1
        client.peer.close()
        await endpoint.until(lambda: endpoint.heard[1].reset == 8)
        stream_id = await other.request()
        await endpoint.respond(await endpoint.next_request())
        assert (await other.over(stream_id)).status == "200"
        assert (await world.report()).ending == "error"


async def test_grpc_calls_have_trailers_and_their_own_name_in_reports() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.request(GRPC, b"\0\0\0\0\1x")
        endpoint = await h2_endpoint(server)
        await endpoint.respond(
            await endpoint.next_request(),
            ((":status", "200"), ("content-type", "application/grpc")),
            b"\0\0\0\0\1y",
            (("grpc-status", "0"),),
        )
        heard = await client.over(stream_id)
        assert (heard.body, heard.trailers) == (b"\0\0\0\0\1y", {"grpc-status": "0"})


async def test_httpx_asks_many_things_at_a_time() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, application_protocol="http2")
        answers: list[bytes] = []

        async def ask(client: httpx2.AsyncClient, number: int) -> None:
            response = await client.post(f"http://127.0.0.1:{world.port}/{number}", content=b"x")
            assert response.http_version == "HTTP/2"
            answers.append(response.content)

        async with (
            httpx2.AsyncClient(
                http1=False, http2=True, trust_env=False, timeout=PATIENCE_SECONDS
            ) as client,
            trio.open_nursery() as nursery,
        ):
            for number in range(50):
                nursery.start_soon(ask, client, number)
            endpoint = await h2_endpoint(server)
            for _ in range(50):
                stream_id = await endpoint.next_request()
                path = endpoint.heard[stream_id].head[":path"]
                await endpoint.respond(stream_id, body=path.encode())
        assert sorted(answers) == sorted(f"/{number}".encode() for number in range(50))


async def test_nothing_spins_while_a_connection_is_silent() -> None:
    async with running() as world:
        await h2_asked(world)
        await world.comes_to_rest()
