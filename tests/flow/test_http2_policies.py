"""What policies and routes make of requests of HTTP/2."""

from __future__ import annotations

import pytest
from http2_peers import (
    GET,
    GRPC,
    h2_asked,
    h2_client,
    h2_endpoint,
    h2_exchanged,
    h2_pair,
    told_at_once,
)
from plane_fixtures import running

from edgemesh.model.policies import (
    Balance,
    Balancing,
    Breaker,
    HashKey,
    HashSource,
    Limits,
    Policy,
    Quota,
)
from edgemesh.model.routes import (
    Backend,
    DirectResponse,
    HeaderChanges,
    Redirect,
    Rewrite,
    Route,
)
from edgemesh.model.services import Snapshot

pytestmark = pytest.mark.root


async def test_an_ejected_endpoint_gets_no_requests() -> None:
    async with running() as world:
        servers = [world.serve(), world.serve()]
        policy = Policy(breaker=Breaker(consecutive_errors=1, base_ejection_seconds=100))
        world.service(
            *(one.endpoint for one in servers), application_protocol="http2", policy=policy
        )
        client = await h2_client(world)
        bad_stream = await client.request(GRPC, b"x")
        good_stream = await client.request(GRPC, b"x")
        bad, good = [await h2_endpoint(one) for one in servers]
        await bad.respond(await bad.next_request(), body=b"", trailers=(("grpc-status", "14"),))
        await good.respond(await good.next_request(), trailers=(("grpc-status", "0"),))
        await client.over(bad_stream)
        await client.over(good_stream)
        for _ in range(4):
            stream_id = await client.request(GRPC, b"x")
            await good.respond(await good.next_request(), trailers=(("grpc-status", "0"),))
            await client.over(stream_id)


async def test_too_many_requests_at_a_time_overflow() -> None:
    async with running() as world:
        await h2_asked(world, policy=Policy(limits=Limits(max_requests=1)))
        assert (await told_at_once(world))["x-edgemesh-reason"] == "overflow"


async def test_routes_change_what_they_say() -> None:
    async with running() as world:
        route = Route(
            "r",
            backends=(Backend("", "", 0, response=HeaderChanges(set=(("x-b", "1"),))),),
            request=HeaderChanges(
                remove=("x-old",), set=(("x-new", "1"), ("x-bad", "a\nb")), add=(("x-new", "2"),)
            ),
            response=HeaderChanges(remove=("server",)),
            rewrite=Rewrite(host="other", full_path="/there"),
        )
        client, server = await h2_pair(world, routes=(route,))
        stream_id = await client.request((*GET, ("x-old", "1"), ("host", "web")))
        endpoint = await h2_endpoint(server)
        asked = endpoint.heard[await endpoint.next_request()]
        assert asked.head == {
            **dict(GET),
            ":authority": "other",
            ":path": "/there",
            "x-new": "2",
        }
        await endpoint.respond(1, ((":status", "200"), ("server", "x")))
        assert (await client.over(stream_id)).head == {":status": "200", "x-b": "1"}


async def test_a_route_without_changes_leaves_everything() -> None:
    async with running() as world:
        client, server = await h2_pair(world, routes=(Route("r"),))
        stream_id = await client.request()
        endpoint = await h2_endpoint(server)
        assert endpoint.heard[await endpoint.next_request()].head == dict(GET)
        await endpoint.respond(1)
        assert (await client.over(stream_id)).head == {":status": "200"}


@pytest.mark.parametrize(("status", "length"), [(204, None), (200, "0"), (418, "6")])
async def test_a_direct_response_is_given_here(status: int, length: str | None) -> None:
    async with running() as world:
        body = "teapot" if status == 418 else ""
        route = Route("r", direct=DirectResponse(status, body))
        world.service(world.closed(), application_protocol="http2", routes=(route,))
        heard = await told_at_once(world)
        assert (heard[":status"], heard["body"]) == (str(status), body)
        assert heard.get("content-length") == length


async def test_a_client_without_the_cookie_of_its_hash_is_given_one() -> None:
    async with running() as world:
        key = HashKey(HashSource.COOKIE, "who", cookie_ttl_seconds=60)
        policy = Policy(balancing=Balancing(Balance.RING_HASH, hash_key=key))
        client, server = await h2_pair(world, policy=policy)
        await client.request()
        endpoint = await h2_endpoint(server)
        await endpoint.respond(await endpoint.next_request())
        cookie = (await client.over(1)).head["set-cookie"]
        assert cookie.startswith("who=")
        await client.request((*GET, ("cookie", cookie.partition(";")[0])))
        await endpoint.respond(await endpoint.next_request())
        assert "set-cookie" not in (await client.over(3)).head


async def test_a_host_that_is_none_is_not_rewritten_to() -> None:
    async with running() as world:
        route = Route("r", rewrite=Rewrite(host="no host", full_path="/there"))
        client, server = await h2_pair(world, routes=(route,))
        await client.request()
        endpoint = await h2_endpoint(server)
        asked = endpoint.heard[await endpoint.next_request()].head
        assert (asked[":authority"], asked[":path"]) == ("web", "/there")


async def test_a_redirect_is_answered_here() -> None:
    async with running() as world:
        route = Route("r", redirect=Redirect(host="elsewhere", status=301))
        world.service(world.closed(), application_protocol="http2", routes=(route,))
        heard = await told_at_once(world)
        assert (heard[":status"], heard["body"]) == ("301", "")
        assert heard["location"].startswith("http://elsewhere")


async def test_a_body_after_an_answer_of_our_own_is_not_wanted() -> None:
    async with running() as world:
        world.service(application_protocol="http2")
        client = await h2_client(world)
        stream_id = await client.begin()
        heard = await client.over(stream_id)
        await client.until(lambda: heard.reset == 0)
        assert heard.status == "503"
        again = await client.request()
        assert (await client.over(again)).status == "503"


async def test_a_service_that_is_gone_is_said_to_be() -> None:
    async with running() as world:
        client, _, _ = await h2_exchanged(world)
        world.plane.swap(Snapshot())
        stream_id = await client.request()
        assert (await client.over(stream_id)).head["x-edgemesh-reason"] == "no-service"


async def test_a_request_that_cannot_be_served_is_answered() -> None:
    async with running() as world:
        client, _ = await h2_pair(world)
        many = tuple((f"x-{number}", "1") for number in range(120))
        stream_id = await client.request((*GET, *many))
        assert (await client.over(stream_id)).status == "431"


async def test_each_request_of_a_connection_is_decided_by_the_policies_of_now() -> None:
    async with running() as world:
        client, server, endpoint = await h2_exchanged(world)
        policy = Policy(client_quota=Quota(rate=0.001, burst=1))
        world.service(server.endpoint, application_protocol="http2", policy=policy)
        first, second = await client.request(), await client.request()
        await endpoint.respond(await endpoint.next_request())
        assert (await client.over(first)).status == "200"
        assert (await client.over(second)).status == "429"
