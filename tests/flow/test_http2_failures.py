"""Endpoints that fail, and requests that are not let through: HTTP/2 and gRPC clients are told."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from http2_peers import (
    GET,
    GRPC,
    OK,
    POST,
    h2_asked,
    h2_client,
    h2_endpoint,
    h2_exchanged,
    h2_pair,
    told_at_once,
)
from plane_fixtures import World, assert_seconds_left, running

from edgemesh.model.policies import Policy, Quota, Retries, RetryOn, Timeouts
from edgemesh.model.routes import Route, RouteMatch
from edgemesh.model.services import Endpoint

pytestmark = pytest.mark.root

UNAVAILABLE, EXHAUSTED, EXCEEDED, UNIMPLEMENTED = "14", "8", "4", "12"


REFUSALS = {
    "no endpoint": ((), Policy(), "no-endpoint", "503", UNAVAILABLE),
    "no route": (
        (),
        Policy(),
        "no-route",
        "404",
        UNIMPLEMENTED,
    ),
    "an endpoint that refuses": ("closed", Policy(), "endpoint-failed", "502", UNAVAILABLE),
    "an endpoint that does not answer": (
        "full",
        Policy(timeouts=Timeouts(connect=0.1)),
        "endpoint-failed",
        "502",
        UNAVAILABLE,
    ),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
async def test_a_refusal_is_explained(case: tuple[object, ...], *, grpc: bool) -> None:
    where, policy, reason, status, grpc_status = case
    async with running() as world:
        endpoints: tuple[Endpoint, ...] = ()
        if where == "closed":
            endpoints = (world.closed(),)
        elif where == "full":
            endpoints = (await world.full(),)
        routes = ()
        if reason == "no-route":
            routes = (Route("r", match=RouteMatch(hosts=("elsewhere",))),)
        world.service(*endpoints, application_protocol="http2", policy=policy, routes=routes)
        heard = await told_at_once(world, grpc=grpc)
        assert heard["x-edgemesh-reason"] == reason
        if grpc:
            assert (heard[":status"], heard["grpc-status"]) == ("200", grpc_status)
            assert heard["content-type"] == "application/grpc"
            assert str(reason) in heard["grpc-message"]
            assert heard["body"] == ""
        else:
            assert heard[":status"] == status
            assert str(reason) in heard["body"]
            assert int(heard["content-length"]) == len(heard["body"])


@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
async def test_a_quota_refuses_what_is_beyond_it(*, grpc: bool) -> None:
    async with running() as world:
        policy = Policy(client_quota=Quota(rate=0.001, burst=1))
        client, server = await h2_pair(world, policy=policy)
        began = trio.current_time()
        await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request())
        heard = await told_at_once(world, grpc=grpc)
        assert heard["x-edgemesh-reason"] == "quota"
        assert_seconds_left(heard["retry-after"], 1000, began)
        assert heard["grpc-status" if grpc else ":status"] == (EXHAUSTED if grpc else "429")


async def test_an_endpoint_that_is_our_own_listener_is_not_called() -> None:
    async with running() as world:
        world.service(Endpoint("127.0.0.1", world.port), application_protocol="http2")
        heard = await told_at_once(world)
        assert heard["x-edgemesh-reason"] == "endpoint-failed"


async def test_a_request_that_is_cancelled_while_its_connection_is_made_is_forgotten() -> None:
    async with running() as world:
        policy = Policy(timeouts=Timeouts(connect=10))
        world.service(await world.full(), application_protocol="http2", policy=policy)
        client = await h2_client(world)
        gone, waiting = await client.request(), await client.request()
        await world.until(lambda: active(world) == 2)
        await client.reset(gone, 8)
        await world.until(lambda: active(world) == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.over, waiting)
            # The only endpoint is tried again and again.
            while not client.on(waiting).over:
                world.skip(10)
                await world.deadlines_pass()
        assert client.on(waiting).status == "502"
        assert gone not in client.heard


def active(world: World) -> int:
    return sum(one.requests for one in world.plane.decider.traffic.upstreams())


async def test_another_endpoint_is_tried_when_one_refuses() -> None:
    async with running() as world:
        server = world.serve()
        world.service(world.closed(), server.endpoint, application_protocol="http2")
        client = await h2_client(world)
        streams = [await client.request(POST, b"body") for _ in range(4)]
        endpoint = await h2_endpoint(server)
        for _ in streams:
            stream_id = await endpoint.next_request()
            assert endpoint.heard[stream_id].body == b"body"
            await endpoint.respond(stream_id)
        for stream_id in streams:
            assert (await client.over(stream_id)).status == "200"


async def test_a_refused_stream_is_tried_again_with_its_body() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        await client.say(stream_id, b"first ")
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        await endpoint.until(lambda: endpoint.heard[1].body == b"first ")
        await endpoint.reset(1, 7)
        await endpoint.next_request(over=False)
        await endpoint.until(lambda: endpoint.heard[3].body == b"first ")
        await client.say(stream_id, b"second", end=True)
        assert (await endpoint.over(3)).body == b"first second"
        await endpoint.respond(3)
        assert (await client.over(stream_id)).status == "200"


async def test_a_refused_stream_is_not_tried_again_without_all_of_its_body() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        endpoint = await h2_endpoint(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(client.say, stream_id, bytes(100_000), end=True))
            await endpoint.next_request()
        assert len(endpoint.heard[1].body) == 100_000
        await endpoint.reset(1, 7)
        assert (await client.over(stream_id)).status == "502"
        again = await client.request()
        await endpoint.respond(await endpoint.next_request())
        assert (await client.over(again)).status == "200"


async def test_a_body_that_came_while_a_connection_was_made_is_sent_whole() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        client.h2.send_data(stream_id, b"first")
        client.h2.send_data(stream_id, b"second")
        client.h2.send_data(stream_id, b"", end_stream=True)
        await client.send()
        endpoint = await h2_endpoint(server)
        assert endpoint.heard[await endpoint.next_request()].body == b"firstsecond"


async def test_a_refused_stream_is_tried_again_with_its_trailers() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.begin()
        await client.say(stream_id, b"body")
        client.h2.send_headers(stream_id, [("x-end", "1")], end_stream=True)
        await client.send()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        await endpoint.reset(1, 7)
        again = endpoint.heard[await endpoint.next_request()]
        assert (again.body, again.trailers) == (b"body", {"x-end": "1"})
        await endpoint.respond(3)
        assert (await client.over(stream_id)).status == "200"


async def test_streams_that_a_leaving_endpoint_did_not_take_go_elsewhere() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        streams = [await client.request() for _ in range(3)]
        endpoint = await h2_endpoint(server)
        for _ in streams:
            await endpoint.next_request()
        endpoint.h2.close_connection(last_stream_id=1)
        await endpoint.peer.send(endpoint.h2.data_to_send())
        other = await h2_endpoint(server)
        for _ in range(2):
            await other.respond(await other.next_request())
        for stream_id in streams[1:]:
            assert (await client.over(stream_id)).status == "200"


@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
async def test_an_endpoint_that_resets_before_its_response_has_failed(*, grpc: bool) -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.request(GRPC if grpc else POST, b"body")
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        await endpoint.reset(1, 2)
        heard = await client.over(stream_id)
        assert heard.head["x-edgemesh-reason"] == "endpoint-failed"
        assert heard.head[":status"] == ("200" if grpc else "502")
        assert heard.head.get("grpc-status") == (UNAVAILABLE if grpc else None)


async def test_an_endpoint_that_resets_within_its_response_resets_the_client() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        endpoint.h2.send_headers(1, OK)
        endpoint.h2.send_data(1, b"half")
        await endpoint.send()
        await client.until(lambda: client.on(1).body == b"half")
        await endpoint.reset(1, 2)
        assert (await client.over(1)).reset == 2


async def test_an_endpoint_that_vanishes_fails_all_its_requests() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world)
        endpoint.h2.send_headers(1, OK)
        await endpoint.send()
        await client.until(lambda: client.on(1).status)
        waiting = await client.request(POST, b"body")
        await endpoint.next_request()
        endpoint.peer.reset()
        assert (await client.over(1)).reset == 2
        assert (await client.over(waiting)).status == "502"


async def test_an_idempotent_request_outlives_a_connection_that_was_closed_meanwhile() -> None:
    async with running() as world:
        client, server, endpoint = await h2_exchanged(world)
        again = await client.request()
        await endpoint.next_request()
        endpoint.peer.close()
        other = await h2_endpoint(server)
        await other.respond(await other.next_request())
        assert (await client.over(again)).status == "200"


async def test_a_broken_endpoint_is_told_why() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.request(POST, b"body")
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        await endpoint.peer.send(b"\0\0\0\0\0\0\0\0\0")
        await endpoint.until_closed()
        assert endpoint.goodbye is not None
        assert (await client.over(stream_id)).status == "502"


async def test_answers_that_ask_for_it_are_retried() -> None:
    async with running() as world:
        policy = Policy(retries=Retries(backoff_seconds=0.001))
        client, server = await h2_pair(world, policy=policy)
        stream_id = await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request(), ((":status", "503"),), b"no")
        await endpoint.respond(await endpoint.next_request(), body=b"yes")
        heard = await client.over(stream_id)
        assert (heard.status, heard.body) == ("200", b"yes")


async def test_a_grpc_status_may_ask_for_a_retry() -> None:
    async with running() as world:
        retries = Retries(
            grpc_statuses=frozenset({14}),
            on=frozenset({RetryOn.STATUS}),
            any_method=True,
            backoff_seconds=0.001,
        )
        client, server = await h2_pair(world, policy=Policy(retries=retries))
        stream_id = await client.request(GRPC, b"question")
        endpoint = await h2_endpoint(server)
        refused = ((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14"))
        await endpoint.respond(await endpoint.next_request(), refused)
        again = await endpoint.next_request()
        assert endpoint.heard[again].body == b"question"
        await endpoint.respond(again, body=b"answer", trailers=(("grpc-status", "0"),))
        assert (await client.over(stream_id)).trailers == {"grpc-status": "0"}


@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
async def test_a_deadline_is_kept(*, grpc: bool) -> None:
    async with running() as world:
        policy = Policy(timeouts=Timeouts(request=30))
        client, server = await h2_pair(world, policy=policy)
        stream_id = await client.request(GRPC if grpc else GET, b"x" if grpc else None)
        endpoint = await h2_endpoint(server)
        await endpoint.next_request()
        world.skip(31)
        heard = await client.over(stream_id)
        assert heard.head["x-edgemesh-reason"] == "timeout"
        assert heard.head.get("grpc-status") == (EXCEEDED if grpc else None)
        assert heard.status == ("200" if grpc else "504")
        await endpoint.until(lambda: endpoint.heard[1].reset == 8)


async def test_a_connection_on_which_nothing_comes_any_more_is_not_used_again() -> None:
    async with running() as world:
        client, server = await h2_pair(world, policy=Policy(timeouts=Timeouts(request=30)))
        await client.request()
        silent = await h2_endpoint(server)
        await silent.respond(await silent.next_request())
        await client.over(1)
        world.skip(1)
        lost = await client.request()
        await silent.next_request()
        world.skip(31)
        assert (await client.over(lost)).status == "504"
        again = await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request())
        assert (await client.over(again)).status == "200"


async def test_a_grpc_client_s_own_deadline_is_kept() -> None:
    async with running() as world:
        client, server = await h2_pair(world)
        stream_id = await client.request((*GRPC, ("grpc-timeout", "30S")), b"x")
        endpoint = await h2_endpoint(server)
        asked = endpoint.heard[await endpoint.next_request()]
        assert asked.head["grpc-timeout"] == "30S"
        world.skip(31)
        assert (await client.over(stream_id)).head["grpc-status"] == EXCEEDED


async def test_a_response_that_takes_too_long_is_cut() -> None:
    async with running() as world:
        client, endpoint = await h2_asked(world, policy=Policy(timeouts=Timeouts(request=30)))
        endpoint.h2.send_headers(1, OK)
        await endpoint.send()
        await client.until(lambda: client.on(1).status)
        world.skip(31)
        assert (await client.over(1)).reset == 8
        await endpoint.until(lambda: endpoint.heard[1].reset == 8)


async def test_a_silent_stream_ends_and_one_that_moves_does_not() -> None:
    async with running() as world:
        client, server = await h2_pair(world, policy=Policy(timeouts=Timeouts(idle=60)))
        silent = await client.begin()
        moving = await client.begin()
        endpoint = await h2_endpoint(server)
        await endpoint.next_request(over=False)
        await endpoint.next_request(over=False)
        for _ in range(4):
            await client.say(moving, b"x")
            world.skip(36)
            await world.deadlines_pass()
        assert (await client.over(silent)).head[":status"] == "504"
        assert not client.on(moving).over
