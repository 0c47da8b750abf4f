"""What the agent's pages say, before it serves, while it does and while it drains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from edgemesh.app.admin import AdminPages
from edgemesh.app.follow import Follower
from edgemesh.app.intercept import Interceptor
from edgemesh.app.kernel_paths import KernelPaths
from edgemesh.app.status import AgentState
from edgemesh.model.services import Endpoint, ServicePort, Snapshot, Transport
from edgemesh.model.settings import NetfilterSettings, Settings
from edgemesh.model.status import AgentStatus
from edgemesh.observe.admin.pages import Page
from edgemesh.observe.sink import LineSink, open_sink
from edgemesh.proxy.dns.counters import DnsCounters
from edgemesh.proxy.health.checks import HealthChecks
from edgemesh.proxy.health.probe import Prober
from edgemesh.proxy.plane import Plane
from edgemesh.store.store import Store

ENDPOINT = Endpoint("10.1.0.1", 8080)
PORT = ServicePort("default", "web", "", Transport.TCP, 80, endpoints=(ENDPOINT,))


@dataclass
class Agent:
    """The parts that pages are about, none of them started."""

    state: AgentState
    dns: DnsCounters
    sink: LineSink
    pages: AdminPages

    async def ask(self, path: str) -> Page:
        return await self.pages.pages()[path]()


def agent_with(store: Store, *, intercepts: bool) -> Agent:
    settings = Settings(node="edge-1", netfilter=NetfilterSettings(enabled=intercepts))
    plane = Plane(settings.proxy, settings.netfilter, lambda _: None)
    prober = Prober(0, settings.http, settings.http2)
    dns, sink = DnsCounters(), open_sink(settings.log)
    follower = Follower(settings)
    interceptor = Interceptor(settings, plane.flows, plane.sessions)
    state = AgentState(
        settings,
        store,
        plane,
        follower,
        interceptor,
        health=HealthChecks(plane.decider.traffic, prober.ask, settings.proxy, lambda: 0.5),
        kernel_paths=KernelPaths(settings, plane, follower, interceptor),
        dns=dns,
    )
    return Agent(state, dns, sink, AdminPages(settings, state, dns, sink))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    with trio.CancelScope(shield=True):
        await opened.close()


async def test_readiness_says_what_is_missing(store: Store) -> None:
    agent = agent_with(store, intercepts=True)
    said = []
    for step in (
        lambda: None,
        lambda: setattr(agent.state, "serving", True),
        lambda: setattr(agent.state.interceptor, "installed", True),
        lambda: setattr(agent.state.plane, "draining", True),
    ):
        step()
        page = await agent.ask("/readyz")
        said.append((page.status, page.body))
    assert said == [
        (HTTPStatus.SERVICE_UNAVAILABLE, b"starting\n"),
        (HTTPStatus.SERVICE_UNAVAILABLE, b"rules are not installed: \n"),
        (HTTPStatus.OK, b"ready\n"),
        (HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n"),
    ]
    assert (await agent.ask("/healthz")).status == HTTPStatus.OK


async def test_an_agent_that_leaves_interception_to_others_is_ready_without(store: Store) -> None:
    agent = agent_with(store, intercepts=False)
    agent.state.serving = True
    assert (await agent.ask("/readyz")).body == b"ready\n"


async def test_every_page_is_linked_from_the_first(store: Store) -> None:
    agent = agent_with(store, intercepts=False)
    index = (await agent.ask("/")).body
    assert isinstance(index, bytes)
    for path in agent.pages.pages():
        assert path == "/" or f'href="{path}"'.encode() in index


async def test_the_status_is_that_of_the_command(store: Store) -> None:
    agent = agent_with(store, intercepts=False)
    agent.state.plane.metrics.meters.meter(PORT, ENDPOINT, "http").observe(503, 0.1)
    agent.dns.cached = 3
    page = await agent.ask("/status")
    assert isinstance(page.body, bytes)
    status = msgspec.json.decode(page.body, type=AgentStatus)
    assert (status.node, status.requests, status.dns) == ("edge-1", {"5xx": 1}, {"cached": 3})


async def test_requests_of_endpoints_that_are_gone_stay_in_the_status(store: Store) -> None:
    agent = agent_with(store, intercepts=False)
    metrics = agent.state.plane.metrics
    metrics.meters.meter(PORT, ENDPOINT, "http").observe(200, 0.1)
    for _ in metrics.text(Snapshot(), 0.0, ()):
        pass
    assert len(metrics.meters) == 0
    assert (await agent.state.status()).requests == {"2xx": 1}


async def test_metrics_of_all_parts_can_be_read_by_prometheus(store: Store) -> None:
    agent = agent_with(store, intercepts=False)
    plane = agent.state.plane
    plane.swap(Snapshot(revision=7, ports={PORT.key: PORT}))
    plane.reports.begin(Transport.TCP)
    agent.dns.failed = 2
    agent.sink.dropped = 5
    page = await agent.ask("/metrics")
    assert page.content_type.startswith("text/plain; version=0.0.4")
    assert not isinstance(page.body, bytes)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families("".join(page.body))
        for sample in family.samples
    }
    assert found["edgemesh_flows_open", "TCP"] == 1
    assert found["edgemesh_dns_questions_total", "failed"] == 2
    assert found["edgemesh_log_lines_dropped_total",] == 5
    assert found["edgemesh_snapshot_revision",] == 7
    assert found["edgemesh_reactor_bugs_total",] == 0
    assert found["edgemesh_meters",] == 0
