"""What the http path counts for Prometheus, and what it writes down about requests."""

from __future__ import annotations

import pytest
import trio
from http1_peers import GET, OK, POST, call_http, exchanged, failing, head_of
from http2_peers import GRPC, h2_endpoint, h2_pair
from plane_fixtures import World, running

from edgemesh.model.meters import Meter, by_class
from edgemesh.model.requests import RequestReport
from edgemesh.model.services import Endpoint

pytestmark = pytest.mark.root


class Log:
    """A request log that keeps everything."""

    def __init__(self) -> None:
        self.reports: list[RequestReport] = []
        self.failures = 0

    def wants(self, *, failed: bool = False) -> bool:
        self.failures += failed
        return True

    def write(self, report: RequestReport) -> None:
        self.reports.append(report)


def meter(world: World, endpoint: Endpoint) -> Meter:
    """The one that there is; a new one where nothing was counted."""
    for counted in world.plane.metrics.meters.all():
        if (counted.key.address, counted.key.endpoint_port) == (endpoint.address, endpoint.port):
            assert counted.key.path == "http"
            return counted.meter
    return Meter()


async def test_requests_count_by_status_with_their_bodies_and_connections() -> None:
    async with running() as world:
        server = world.serve()
        began = trio.current_time()
        client = await call_http(world, server)
        peer = await exchanged(client, server)
        for request, answer in ((POST, OK), (GET, failing(503))):
            await client.send(request)
            await peer.receive(len(request))
            await peer.send(answer)
            await client.receive(len(answer))
        counts = meter(world, server.endpoint)
        assert by_class(counts.responses) == {"2xx": 2, "5xx": 1}
        assert sum(counts.latencies) == 3
        assert 0 < counts.seconds <= trio.current_time() - began
        assert (counts.bytes_sent, counts.bytes_received) == (len(b"body"), 2 * len(b"hello"))
        assert (counts.connections, counts.connect_failures, counts.resets) == (1, 0, 0)


async def test_an_endpoint_that_cannot_be_reached_counts_and_so_does_the_retry() -> None:
    async with running() as world:
        dead, server = world.closed(), world.serve()
        world.service(dead, server.endpoint, application_protocol="http")
        await exchanged(await world.call(), server)
        failed, good = meter(world, dead), meter(world, server.endpoint)
        assert (failed.connect_failures, failed.connections, failed.retries) == (1, 0, 1)
        assert (good.connect_failures, good.connections, good.retries) == (0, 1, 0)
        assert by_class(failed.responses) == {}
        assert by_class(good.responses) == {"2xx": 1}


async def test_a_response_that_is_broken_off_counts_as_reset() -> None:
    async with running() as world:
        server = world.serve()
        client = await call_http(world, server)
        await client.send(POST)
        peer = await server.accept()
        await peer.receive(len(POST))
        await peer.send(OK[:-2])
        await client.receive(len(OK) - 2)
        peer.reset()
        await client.receive_until_reset()
        assert meter(world, server.endpoint).resets == 1


async def test_a_refusal_counts_for_the_service_and_is_told_as_failed() -> None:
    async with running() as world:
        world.plane.http.log = log = Log()
        client = await call_http(world)
        await client.send(GET)
        status, fields = await head_of(client)
        assert (status, fields["x-edgemesh-reason"]) == (503, "no-endpoint")
        assert world.plane.metrics.refusals.by_reason == {"no-endpoint": 1}
        assert world.plane.metrics.meters.all() == []
        [report] = log.reports
        assert (report.status, report.reason, report.endpoint) == (503, "no-endpoint", "")
        assert report.attempts == 0
        assert log.failures == 1


async def test_the_report_says_who_asked_what_and_what_came_of_it() -> None:
    async with running() as world:
        world.plane.http.log = log = Log()
        server = world.serve()
        began = trio.current_time()
        client = await call_http(world, server)
        await exchanged(client, server, POST)
        took = trio.current_time() - began
        [report] = log.reports
        assert report.protocol == "http/1.1"
        assert report.client == f"127.0.0.1:{client.address[1]}"
        assert (report.method, report.host, report.path) == ("POST", "web", "/things")
        assert (report.status, report.reason, report.grpc_status) == (200, "", "")
        assert report.service == "default/echo:80"
        assert report.endpoint == f"127.0.0.1:{server.endpoint.port}"
        assert report.attempts == 1
        assert (report.bytes_sent, report.bytes_received) == (4, 5)
        assert 0 <= report.upstream_duration <= report.duration <= took
        assert log.failures == 0


async def test_the_query_is_told_apart_from_the_path() -> None:
    async with running() as world:
        world.plane.http.log = log = Log()
        server = world.serve()
        await exchanged(await call_http(world, server), server, GET)
        assert (log.reports[0].path, log.reports[0].query) == ("/things", "n=1")


async def test_grpc_calls_count_by_status_code_and_one_connection_once() -> None:
    async with running() as world:
        world.plane.http.log = log = Log()
        client, server = await h2_pair(world)
        streams = [await client.request(GRPC) for _ in range(3)]
        endpoint = await h2_endpoint(server)
        for code in ("0", "0", "14"):
            stream = await endpoint.next_request()
            await endpoint.respond(stream, body=b"12345", trailers=(("grpc-status", code),))
        for stream in streams:
            await client.over(stream)
        counts = meter(world, server.endpoint)
        assert by_class(counts.responses) == {"2xx": 3}
        assert counts.grpc is not None
        assert (counts.grpc[0], counts.grpc[14], sum(counts.grpc)) == (2, 1, 3)
        assert (counts.connections, counts.bytes_received) == (1, 15)
        assert [report.grpc_status for report in log.reports] == ["0", "0", "14"]
        assert {report.protocol for report in log.reports} == {"grpc"}
