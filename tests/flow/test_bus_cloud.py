"""Services that run in the cloud: a node's calls go there by a stream, and are balanced there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
import trio
from bus_fixtures import Mesh, meshed
from http1_peers import GET, OK, asked
from plane_fixtures import Server
from router_fixtures import Book, open_book, rule_body

from edgemesh.app.cloud_streams import RuledStreams
from edgemesh.model.policies import Policy, Quota
from edgemesh.model.services import Endpoint, ServicePort, Transport
from edgemesh.model.streams import CLOUD
from edgemesh.store.router import RuleOutcome

pytestmark = pytest.mark.root


def in_the_cloud(mesh: Mesh, *servers: Server, **port: object) -> ServicePort:
    """A Service of the cloud, here node-b's plane: a node sees one endpoint, which is the cloud."""
    plane = mesh.b.plane
    plane.decider.chooses = True
    service = ServicePort("default", "echo", "", Transport.TCP, 80)
    service = replace(service, **port)  # type: ignore[arg-type]
    beyond = (Endpoint("10.96.0.1", 80, node=CLOUD),)
    mesh.knows(mesh.a, "node-a", replace(service, endpoints=beyond, policy=Policy()))
    endpoints = tuple(replace(each.endpoint, node="master") for each in servers)
    mesh.knows(mesh.b, "master", replace(service, endpoints=endpoints))
    ruled = {("default", "echo"): frozenset[int]()}
    plane.swap(replace(plane.decider.snapshot, ruled=ruled))
    return service


async def test_calls_are_balanced_among_the_endpoints_of_the_cloud() -> None:
    async with meshed() as mesh:
        servers = [mesh.a.serve(), mesh.a.serve()]
        in_the_cloud(mesh, *servers)
        for server in servers:
            client = await mesh.a.call()
            await client.send(b"hello")
            assert await (await server.accept()).receive(5) == b"hello"
        assert [(each.node, each.endpoint) for each in mesh.bus.asked] == [(CLOUD, "")] * 2


async def test_reports_say_that_the_cloud_was_called() -> None:
    async with meshed() as mesh:
        server = mesh.a.serve()
        in_the_cloud(mesh, server)
        client = await mesh.a.call()
        await server.accept()
        client.reset()
        assert (await mesh.a.report()).way == "cloud"
        at_cloud = await mesh.b.report()
        assert (at_cloud.from_node, at_cloud.service) == ("node-a", "default/echo:80")


async def test_requests_are_balanced_one_by_one_and_answered() -> None:
    async with meshed() as mesh:
        servers = [mesh.a.serve(), mesh.a.serve()]
        in_the_cloud(mesh, *servers, application_protocol="http")
        client = await mesh.a.call()
        for server in servers:
            await client.send(GET)
            await (await asked(server)).send(OK)
            assert await client.receive(len(OK)) == OK


async def test_the_clients_quota_of_the_service_counts_for_the_calling_end() -> None:
    async with meshed() as mesh:
        server = mesh.a.serve()
        in_the_cloud(mesh, server, policy=Policy(client_quota=Quota(0.01, 1)))
        await mesh.a.call()
        await server.accept()
        await mesh.a.call_in_vain()
        await mesh.a.report()
        assert mesh.b.plane.metrics.refusals.by_reason == {"quota": 1}


async def test_without_a_rule_the_cloud_refuses_by_name() -> None:
    async with meshed() as mesh:
        in_the_cloud(mesh, mesh.a.serve())
        plane = mesh.b.plane
        plane.swap(replace(plane.decider.snapshot, ruled={}))
        with structlog.testing.capture_logs():
            await mesh.a.call_in_vain()
        report = await mesh.a.report()
        assert report.reason.endswith("cloud: default/echo:80/TCP: no Rule leads there")


async def test_a_service_without_endpoints_in_the_cloud_is_a_refused_connect() -> None:
    async with meshed() as mesh:
        in_the_cloud(mesh)
        await mesh.a.call_in_vain()
        assert (await mesh.a.report()).reason.endswith("cloud: no-endpoint")


async def test_without_a_link_to_the_cloud_nothing_is_dialled() -> None:
    async with meshed() as mesh:
        in_the_cloud(mesh, mesh.a.serve())
        mesh.a.plane.remote = None
        await mesh.a.call_in_vain()
        assert "Network is unreachable" in (await mesh.a.report()).reason


EDGES = {
    "apiVersion": "rules.kubeedge.io/v1",
    "kind": "RuleEndpoint",
    "metadata": {"name": "edges", "namespace": "default"},
    "spec": {"ruleEndpointType": "service", "properties": {"service": "apps"}},
}
TO_ECHO = {
    "apiVersion": "rules.kubeedge.io/v1",
    "kind": "RuleEndpoint",
    "metadata": {"name": "echo", "namespace": "default"},
    "spec": {"ruleEndpointType": "service", "properties": {"service": "echo", "port": "80"}},
}


@asynccontextmanager
async def ruled(mesh: Mesh, directory: Path, **annotations: str) -> AsyncIterator[Book]:
    """The streams of the mesh pass by a Rule; what became of them is counted at the end."""
    rule = rule_body("to-echo", "edges", "echo", {}, {}, **annotations)
    async with open_book(directory, EDGES, TO_ECHO, rule) as book:
        streams = RuledStreams(mesh.b.plane, book.rules, book.outcomes)
        mesh.bus.enter = streams.enter
        yield book


async def counted(book: Book) -> RuleOutcome:
    async with trio.open_nursery() as nursery:
        await nursery.start(book.outcomes.run)
        nursery.cancel_scope.cancel()
    (outcome,) = (await book.tables.outcomes()).values()
    return outcome


async def test_calls_are_counted_by_the_rule_that_leads_to_their_service(tmp_path: Path) -> None:
    async with meshed() as mesh, ruled(mesh, tmp_path) as book:
        server = mesh.a.serve()
        in_the_cloud(mesh, server)
        await mesh.a.call()
        await server.accept()
        mesh.b.plane.draining = True
        with structlog.testing.capture_logs():
            await mesh.a.call_in_vain()
        outcome = await counted(book)
        assert (outcome.successes, outcome.failures) == (1, 1)


async def test_calls_beyond_the_rules_quota_are_refused_by_its_name(tmp_path: Path) -> None:
    async with meshed() as mesh, ruled(mesh, tmp_path, qps="0.01", burst="1") as book:
        server = mesh.a.serve()
        in_the_cloud(mesh, server)
        await mesh.a.call()
        await server.accept()
        await mesh.a.call_in_vain()
        reason = (await mesh.a.report()).reason
        assert reason.endswith("cloud: Rule default/to-echo lets no more calls through now")
        outcome = await counted(book)
        assert (outcome.successes, outcome.failures) == (1, 1)


async def test_a_stream_that_no_rule_is_about_is_the_planes_to_refuse(tmp_path: Path) -> None:
    async with meshed() as mesh, ruled(mesh, tmp_path):
        in_the_cloud(mesh, mesh.a.serve(), service="other")
        with structlog.testing.capture_logs():
            await mesh.a.call_in_vain()
        assert "no Rule leads there" in (await mesh.a.report()).reason
