"""HTTP/1 requests that are refused, repeated, given up: what clients and endpoints get to see."""

from __future__ import annotations

import pytest
import trio
from http1_peers import GET, OK, POST, asked, call_http, called_http, exchanged, failing, head_of
from plane_fixtures import Peer, World, assert_seconds_left, running

from edgemesh.model.flows import Refusal
from edgemesh.model.policies import Breaker, Limits, Policy, Quota, Retries, Subset, Timeouts
from edgemesh.model.routes import (
    Backend,
    Comparison,
    DirectResponse,
    Redirect,
    Route,
    RouteMatch,
    TextMatch,
)
from edgemesh.model.services import Snapshot
from edgemesh.policy.traffic.upstream import Upstream

RETRIES = Policy(retries=Retries(attempts=2, backoff_seconds=0.001))


async def refused(client: Peer, request: bytes = GET) -> tuple[int, str]:
    """Status and reason of an answer of the proxy's own."""
    await client.send(request)
    status, fields = await head_of(client)
    return status, fields.get("x-edgemesh-reason", "")


async def test_a_service_without_endpoints_answers_503_and_the_connection_goes_on() -> None:
    async with running() as world:
        client = await call_http(world)
        assert await refused(client) == (503, "no-endpoint")
        assert await refused(client) == (503, "no-endpoint")


async def test_while_its_service_is_unknown_each_of_a_clients_requests_is_answered() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await exchanged(client, server)
        world.plane.swap(Snapshot())
        await client.send(GET + GET)
        for _ in range(2):
            status, fields = await head_of(client)
            assert (status, fields["x-edgemesh-reason"]) == (503, "no-service")
        assert world.plane.metrics.refusals.by_reason[Refusal.NO_SERVICE] == 2


async def test_a_service_that_is_gone_answers_503_and_one_that_comes_serves_at_once() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world)
        assert await refused(client) == (503, "no-endpoint")
        world.service(server.endpoint, application_protocol="http")
        await exchanged(client, server)


async def test_beyond_its_quota_a_request_is_told_when_to_come_again() -> None:
    policy = Policy(client_quota=Quota(rate=0.001, burst=1))
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server, policy=policy)
        began = trio.current_time()
        await exchanged(client, server)
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (429, "quota")
        assert_seconds_left(fields["retry-after"], 1000, began)


async def test_a_route_to_a_subset_takes_one_token_of_its_services_quota() -> None:
    policy = Policy(client_quota=Quota(rate=0.001, burst=2))
    async with running() as world:
        server = world.serve()
        place = (server.endpoint.address, server.endpoint.port)
        client = await call_http(
            world,
            server,
            policy=policy,
            subsets={"blue": Subset("blue", frozenset({place}), policy)},
            routes=(Route("to blue", backends=(Backend("default", "echo", 80, "blue"),)),),
        )
        peer = await exchanged(client, server)
        await client.send(GET)
        assert await peer.receive(len(GET)) == GET
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK
        assert await refused(client) == (429, "quota")


async def test_when_all_endpoints_refuse_to_connect_each_is_tried_and_the_answer_is_502() -> None:
    async with running() as world:
        world.service(world.closed(), world.closed(), application_protocol="http")
        client = await world.call()
        assert await refused(client) == (502, "endpoint-failed")


async def test_an_endpoint_that_refuses_to_connect_is_passed_over_even_for_a_post() -> None:
    async with running() as world:
        server = world.serve()
        world.service(world.closed(), server.endpoint, application_protocol="http")
        await exchanged(await world.call(), server, POST)


async def test_an_endpoint_that_never_connects_ends_in_502_at_its_deadline() -> None:
    async with running(connect_timeout_seconds=0.05) as world:
        world.service(await world.full(), application_protocol="http")
        assert await refused(await world.call()) == (502, "endpoint-failed")


async def test_a_failed_answer_is_passed_on_without_a_policy() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await exchanged(client, server, GET, failing(503))


async def test_with_retries_another_endpoint_answers_instead_of_the_one_that_failed() -> None:
    async with running() as world:
        bad, good = world.serve(), world.serve()
        client = await call_http(world, bad, good, policy=RETRIES)
        await client.send(GET)
        await (await asked(bad)).send(failing(503))
        await (await asked(good)).send(OK)
        assert await client.receive(len(OK)) == OK


async def test_a_body_is_sent_again_with_its_request() -> None:
    put = POST.replace(b"POST", b"PUT")
    async with running() as world:
        bad, good = world.serve(), world.serve()
        client = await call_http(world, bad, good, policy=RETRIES)
        await client.send(put)
        (await asked(bad, put)).reset()
        await (await asked(good, put)).send(OK)
        assert await client.receive(len(OK)) == OK


async def test_a_post_is_not_repeated_once_it_was_sent() -> None:
    async with running() as world:
        bad, good = world.serve(), world.serve()
        client = await call_http(world, bad, good, policy=RETRIES)
        await client.send(POST)
        (await asked(bad, POST)).reset()
        assert (await head_of(client))[0] == 502


async def test_after_its_last_try_the_endpoints_own_answer_is_passed_on() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server, policy=RETRIES)
        await client.send(GET)
        for _ in range(3):
            await (await asked(server)).send(failing(503))
        assert await client.receive(len(failing(503))) == failing(503)


async def test_a_connection_that_was_closed_while_it_waited_costs_no_request() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        peer = await exchanged(client, server)
        # The request and the end of the connection cross.
        await client.send(GET)
        await peer.receive(len(GET))
        peer.close()
        again = await asked(server)
        await again.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_an_endpoint_that_breaks_off_in_the_middle_resets_the_client() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        await peer.send(OK[:-2])
        assert await client.receive(len(OK) - 2) == OK[:-2]
        peer.close()
        assert await client.receive_until_reset() == b""
        assert (await world.report()).ending == "endpoint-reset"


async def test_a_client_that_leaves_takes_its_request_back() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server)
        client.reset()
        assert await peer.receive_until_reset() == b""
        assert (await world.report()).ending == "client-reset"


async def test_past_its_deadline_a_request_is_answered_504() -> None:
    policy = Policy(timeouts=Timeouts(request=60.0))
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, policy=policy)
        world.skip(60.1)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (504, "timeout")
        assert await peer.receive_until_reset() == b""


async def test_a_try_that_takes_too_long_is_repeated_elsewhere() -> None:
    policy = Policy(retries=Retries(attempts=1, per_try_seconds=60.0, backoff_seconds=0.001))
    async with running() as world:
        slow, fast = world.serve(), world.serve()
        client = await call_http(world, slow, fast, policy=policy)
        await client.send(GET)
        await asked(slow)
        world.skip(60.1)
        await (await asked(fast)).send(OK)
        assert await client.receive(len(OK)) == OK


async def test_a_head_that_comes_too_slowly_is_answered_408() -> None:
    async with running() as world:
        client = await call_http(world, world.serve())
        await client.send(GET[:10])
        await world.comes_to_rest()
        world.skip(5.0)
        await client.send(GET[10:12])
        await world.comes_to_rest()
        world.skip(5.1)
        assert (await head_of(client))[0] == 408
        assert await client.receive_all() == b""


async def test_a_breaker_lets_no_failure_through_once_it_is_open_and_closes_again() -> None:
    policy = Policy(breaker=Breaker(consecutive_errors=3, base_ejection_seconds=30.0))
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server, policy=policy)
        peer = await exchanged(client, server, GET, failing(500))
        for _ in range(2):
            await client.send(GET)
            await peer.receive(len(GET))
            await peer.send(failing(500))
            await client.receive(len(failing(500)))
        assert await refused(client) == (503, "breaker-open")
        world.skip(30.1)
        await client.send(GET)
        await peer.receive(len(GET))
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK


async def test_more_requests_than_a_service_may_have_open_are_refused() -> None:
    policy = Policy(limits=Limits(max_requests=1))
    async with running() as world:
        server = world.serve()
        first = await call_http(world, server, policy=policy)
        await first.send(GET)
        await asked(server)
        assert await refused(await world.call()) == (503, "overflow")


async def test_a_request_waits_for_a_connection_when_there_may_be_no_more() -> None:
    policy = Policy(limits=Limits(max_connections=1, max_pending=1))
    async with running() as world:
        server = world.serve()
        first = await call_http(world, server, policy=policy)
        await first.send(GET)
        peer = await asked(server)
        second, third = await world.call(), await world.call()
        await second.send(GET)
        await world.until(lambda: any(one.pending for one in upstreams(world)))
        assert await refused(third) == (503, "overflow")
        await peer.send(OK)
        assert await first.receive(len(OK)) == OK
        assert await peer.receive(len(GET)) == GET
        await peer.send(OK)
        assert await second.receive(len(OK)) == OK


def upstreams(world: World) -> list[Upstream]:
    return list(world.plane.decider.traffic.upstreams())


async def test_a_request_that_no_route_takes_is_answered_404() -> None:
    routes = (Route("only", RouteMatch(path=TextMatch(Comparison.PREFIX, "/other"))),)
    async with running() as world:
        client = await call_http(world, world.serve(), routes=routes)
        assert await refused(client) == (404, "no-route")


async def test_a_route_may_send_the_client_elsewhere_or_answer_itself() -> None:
    routes = (
        Route(
            "away",
            RouteMatch(path=TextMatch(Comparison.PREFIX, "/things")),
            redirect=Redirect(host="new", status=301),
        ),
        Route("here", direct=DirectResponse(418, "short and stout")),
    )
    async with running() as world:
        client = await call_http(world, world.serve(), routes=routes)
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["location"]) == (301, "http://new/things?n=1")
        await client.send(b"GET /tea HTTP/1.1\r\nHost: web\r\n\r\n")
        assert (await head_of(client))[0] == 418


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\n\n", b"G T / HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_what_is_no_request_is_answered_400_and_the_connection_closed(
    request_: bytes,
) -> None:
    async with running() as world:
        client = await call_http(world, world.serve())
        assert await refused(client, request_) == (400, "malformed")
        assert await client.receive_all() == b""


async def test_a_malformed_response_is_answered_502() -> None:
    async with running() as world:
        server = world.serve()
        client, peer = await called_http(world, server, POST)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (502, "endpoint-failed")


async def test_while_draining_an_answer_says_that_it_is_the_last() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve()
        client, peer = await called_http(world, server)
        nursery.start_soon(world.plane.drain, 20.0)
        await world.until(lambda: world.plane.draining)
        await peer.send(OK)
        answer = await client.receive_all()
        assert answer.endswith(b"hello")
        assert b"\r\nConnection: close\r\n" in answer


async def test_while_draining_an_idle_connection_is_closed_after_a_moment() -> None:
    async with running() as world, trio.open_nursery() as nursery:
        server = world.serve()
        client = await call_http(world, server)
        await exchanged(client, server)
        nursery.start_soon(world.plane.drain, 20.0)
        await world.until(lambda: world.plane.draining)
        world.skip(1.1)
        assert await client.receive_all() == b""


async def test_a_body_that_comes_while_its_try_is_repeated_is_not_lost() -> None:
    head = b"PUT /big HTTP/1.1\r\nHost: web\r\nContent-Length: 150000\r\n\r\n"
    body = bytes(range(250)) * 600
    policy = Policy(retries=Retries(attempts=1, backoff_seconds=0.2))
    async with running() as world:
        bad, good = world.serve(), world.serve()
        client = await call_http(world, bad, good, policy=policy)
        await client.send(head + body[:1000])
        peer = await asked(bad, head)
        await peer.receive(1000)
        await peer.send(failing(503))
        assert await peer.receive_until_reset() == b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, body[1000:])
            peer = await asked(good, head)
            assert await peer.receive(len(body)) == body
        await peer.send(OK)
        assert await client.receive(len(OK)) == OK
