"""TCP flows whose endpoint is reached by the bus: two planes and a stream between them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog
import trio
from bus_fixtures import NODE_A, NODE_B, Mesh, meshed
from plane_fixtures import Peer

from edgemesh.model.flows import Mover
from edgemesh.model.policies import Breaker, Policy, ServerLimits
from edgemesh.model.services import PodIdentity
from edgemesh.model.settings import ProxySettings
from edgemesh.model.streams import InboundStream
from edgemesh.reactor.virtual import VirtualSocket

pytestmark = pytest.mark.root


async def joined(mesh: Mesh, **port: object) -> tuple[Peer, Peer]:
    """A client at node-a and the connection that node-b has made to the endpoint for it."""
    server = mesh.serve(**port)
    client = await mesh.a.call()
    return client, await server.accept()


async def test_bytes_pass_both_ways_and_each_direction_ends_by_itself() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        await client.send(b"question")
        assert await endpoint.receive(8) == b"question"
        client.half_close()
        assert await endpoint.receive_all() == b""
        await endpoint.send(b"answer")
        endpoint.half_close()
        assert await client.receive_all() == b"answer"
        at_a, at_b = await mesh.a.report(), await mesh.b.report()
        assert (at_a.ending, at_b.ending) == ("closed", "closed")
        assert (at_b.bytes_sent, at_b.bytes_received) == (8, 6)


async def test_the_endpoint_may_end_its_direction_first() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        await endpoint.send(b"greeting")
        endpoint.half_close()
        assert await client.receive_all() == b"greeting"
        await client.send(b"thanks")
        client.half_close()
        assert await endpoint.receive_all() == b"thanks"


async def test_reports_say_which_way_a_flow_went_and_where_it_came_from() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        client.half_close()
        await endpoint.receive_all()
        endpoint.half_close()
        at_a, at_b = await mesh.a.report(), await mesh.b.report()
        assert (at_a.way, at_a.from_node) == ("link to node-b", "")
        assert (at_b.way, at_b.from_node) == ("", NODE_A)
        assert at_a.client == at_b.client
        assert at_a.endpoint == at_b.endpoint == at_b.destination


async def test_the_other_end_is_told_who_calls() -> None:
    async with meshed() as mesh:
        server = mesh.serve()
        snapshot = mesh.a.plane.decider.snapshot
        pods = {"127.0.0.1": PodIdentity("shop", "cart-1", workload="cart")}
        mesh.a.plane.swap(replace(snapshot, pods=pods))
        client = await mesh.a.call()
        await server.accept()
        (request,) = mesh.bus.asked
        assert request.client == client.address
        assert request.workload == "shop/cart"
        client.reset()
        assert (await mesh.b.report()).client_pod == "shop/cart"


async def test_a_reset_of_the_client_resets_the_endpoint() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        await client.send(b"last words")
        assert await endpoint.receive(10) == b"last words"
        client.reset()
        assert await endpoint.receive_until_reset() == b""
        assert (await mesh.b.report()).ending == "client-reset"


async def test_a_reset_of_the_endpoint_resets_the_client_after_its_last_words() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        await endpoint.send(b"last words")
        assert await client.receive(10) == b"last words"
        endpoint.reset()
        assert await client.receive_until_reset() == b""
        assert (await mesh.a.report()).ending == "endpoint-reset"


async def test_streams_of_a_link_that_is_gone_are_reset_at_both_ends() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        mesh.bus.cut()
        await client.receive_until_reset()
        await endpoint.receive_until_reset()


async def test_much_passes_unchanged_and_stays_on_the_relay() -> None:
    data = bytes(range(256)) * 16384
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, data)
            assert await endpoint.receive(len(data)) == data
        async with trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.send, data)
            assert await client.receive(len(data)) == data
        client.half_close()
        endpoint.half_close()
        for world in (mesh.a, mesh.b):
            assert (await world.report()).movers == (Mover.RELAY,)


async def test_a_reader_that_reads_nothing_holds_the_sender_up_within_the_window() -> None:
    async with meshed(window=20000, relay_buffer_bytes=8192) as mesh:
        client, endpoint = await joined(mesh)
        data = bytes(1 << 20)
        sent = 0
        while taken := client.send_what_fits(data):
            sent += taken
            await mesh.a.comes_to_rest()
            await mesh.b.comes_to_rest()
        (wires,) = mesh.bus.wires
        assert wires[0].most_held <= 20000
        await endpoint.receive(sent)
        client.half_close()
        assert await endpoint.receive_all() == b""


async def test_an_endpoint_that_refuses_is_a_refused_connect_at_the_caller() -> None:
    async with meshed() as mesh:
        mesh.service(mesh.a.closed())
        await mesh.a.call_in_vain()
        report = await mesh.a.report()
        assert report.ending == "connect-failed"
        assert "Connection refused" in report.reason
        assert "node-b" in report.reason


async def test_another_endpoint_is_tried_when_one_refuses() -> None:
    async with meshed() as mesh:
        server = mesh.a.serve()
        mesh.service(mesh.a.closed(), server.endpoint)
        clients = []
        for _ in range(2):
            clients.append(await mesh.a.call())
            await server.accept()
        for client in clients:
            client.reset()
        await mesh.a.report(2)
        assert max(each.attempts for each in mesh.a.reports) == 2
        assert {each.ending for each in mesh.a.reports} == {"client-reset"}


async def test_breakers_learn_from_refused_streams() -> None:
    async with meshed(connect_attempts=1) as mesh:
        breaker = Breaker(consecutive_errors=1)
        mesh.service(mesh.a.closed(), policy=Policy(breaker=breaker))
        with structlog.testing.capture_logs():
            await mesh.a.call_in_vain()
            await mesh.a.report()
        await mesh.a.call_in_vain()
        assert (await mesh.a.report(2)).reason == "breaker-open"


async def test_a_server_at_its_limit_is_no_failure_of_the_endpoint() -> None:
    async with meshed(connect_attempts=1) as mesh:
        breaker = Breaker(consecutive_errors=1)
        limits = ServerLimits(max_concurrent=1)
        server = mesh.serve(
            policy=Policy(breaker=breaker, server=limits), application_protocol="tcp"
        )
        first = await mesh.a.call()
        held = await server.accept()
        await mesh.a.call_in_vain()
        report = await mesh.a.report()
        assert report.reason.endswith("node-b: server-overflow")
        assert (await mesh.b.report()).reason == "server-overflow"
        first.close()
        await held.receive_all()
        held.close()
        await mesh.b.report(2)
        await mesh.a.call()
        await server.accept()


async def test_an_endpoint_that_is_gone_at_the_other_node_is_named() -> None:
    async with meshed() as mesh:
        service = mesh.service(mesh.a.closed())
        mesh.knows(mesh.b, NODE_B, replace(service, endpoints=()))
        await mesh.a.call_in_vain()
        assert "default/echo" in (await mesh.a.report()).reason


async def test_what_the_other_node_does_not_run_is_refused_and_counted() -> None:
    async with meshed() as mesh:
        service = mesh.service(mesh.a.closed())
        elsewhere = replace(service.endpoints[0], node="node-c")
        mesh.knows(mesh.b, NODE_B, replace(service, endpoints=(elsewhere,)))
        with structlog.testing.capture_logs() as logs:
            await mesh.a.call_in_vain()
            report = await mesh.a.report()
        assert "does not run here" in report.reason
        assert mesh.b.plane.metrics.refusals.by_reason == {"not-allowed": 1}
        assert mesh.b.plane.entrance.refused == {NODE_A: 1}
        assert [each["event"] for each in logs] == ["a stream is refused"]


async def test_a_node_has_no_more_streams_than_connections() -> None:
    async with meshed(max_connections=1) as mesh:
        await joined(mesh)
        wanted = InboundStream(NODE_A, *mesh.bus.asked[0][1:])
        stream = VirtualSocket(mesh.b.plane.reactor)
        with structlog.testing.capture_logs():
            mesh.b.plane.enter(stream, wanted)
        assert mesh.b.plane.metrics.refusals.by_reason == {"limit": 1}


async def test_a_node_that_drains_lets_no_more_streams_in() -> None:
    async with meshed(connect_attempts=1) as mesh:
        mesh.serve()
        mesh.b.plane.draining = True
        with structlog.testing.capture_logs():
            await mesh.a.call_in_vain()
        assert (await mesh.a.report()).reason.endswith("node-b: limit")


async def test_without_a_way_the_endpoint_is_dialled_at_its_address() -> None:
    async with meshed() as mesh:
        mesh.bus.routes.clear()
        client, _ = await joined(mesh)
        assert mesh.bus.asked == []
        client.reset()
        assert (await mesh.a.report()).way == ""


async def test_endpoints_are_dialled_where_that_is_preferred() -> None:
    async with meshed() as mesh:
        mesh.a.plane.prefers_direct = True
        await joined(mesh)
        assert mesh.bus.asked == []


async def test_a_way_that_is_gone_when_it_is_taken_is_a_failed_connect() -> None:
    async with meshed() as mesh:
        mesh.serve()
        mesh.bus.gone = True
        await mesh.a.call_in_vain()
        assert "Network is unreachable" in (await mesh.a.report()).reason


async def test_another_end_that_says_nothing_is_a_timeout() -> None:
    async with meshed(connect_timeout_seconds=0.2, connect_attempts=1) as mesh:
        mesh.serve()
        mesh.bus.enter = lambda *_: None
        await mesh.a.call_in_vain()
        assert (await mesh.a.report()).ending == "connect-timeout"


async def test_a_server_that_speaks_first_is_heard_while_the_client_says_nothing() -> None:
    async with meshed() as mesh:
        client, endpoint = await joined(mesh)
        await endpoint.send(b"220 ready")
        assert await client.receive(9) == b"220 ready"


async def test_a_thousand_flows_at_a_time_arrive_each_at_its_own() -> None:
    assert ProxySettings().max_connections >= 1000
    async with meshed() as mesh:
        server = mesh.a.serve(backlog=1024)
        mesh.service(server.endpoint)
        clients = [await mesh.a.call() for _ in range(1000)]
        for number, client in enumerate(clients):
            await client.send(number.to_bytes(2, "big"))
        for _ in clients:
            endpoint = await server.accept()
            await endpoint.send(await endpoint.receive(2))
        for number, client in enumerate(clients):
            assert await client.receive(2) == number.to_bytes(2, "big")
            client.reset()
        await mesh.a.until(lambda: len(mesh.a.reports) == len(mesh.b.reports) == 1000)
