"""The pages of the admin server: metrics, health, status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Final

import trio

from edgemesh.app import metrics
from edgemesh.app.edgehub_metrics import edgehub_families
from edgemesh.app.kubernetes_metrics import kubernetes_families
from edgemesh.app.status import AgentState
from edgemesh.model.settings import Settings
from edgemesh.observe.admin.pages import HTML, Page, json_page, text_page
from edgemesh.observe.metrics.exposition import CONTENT_TYPE, Family
from edgemesh.observe.metrics.process import process_families
from edgemesh.observe.sink import LineSink
from edgemesh.proxy.dns.counters import DnsCounters

_LINKS: Final = {
    "/metrics": "for Prometheus",
    "/status": "what <code>edgemesh status --json</code> prints",
    "/readyz": "whether calls are served",
    "/healthz": "whether the agent is alive",
}
_INDEX: Final = "".join(
    [
        "<!doctype html>\n<title>edgemesh</title>\n<h1>edgemesh</h1>\n<ul>\n",
        *(f'<li><a href="{path}">{path}</a> {what}\n' for path, what in _LINKS.items()),
        "</ul>\n",
    ]
).encode()


class AdminPages:
    """What the agent tells over HTTP."""

    def __init__(
        self, settings: Settings, state: AgentState, dns: DnsCounters, sink: LineSink
    ) -> None:
        """Look at what others own."""
        self._settings = settings
        self._state = state
        self._dns = dns
        self._sink = sink

    def pages(self) -> dict[str, Callable[[], Awaitable[Page]]]:
        """The pages by their paths."""
        return {
            "/": self._index,
            "/metrics": self._metrics,
            "/status": self._status,
            "/readyz": self._readiness,
            "/healthz": self._health,
        }

    async def _index(self) -> Page:
        await trio.lowlevel.checkpoint()
        return Page(_INDEX, HTML)

    async def _metrics(self) -> Page:
        await trio.lowlevel.checkpoint()
        return Page(self._exposition(), CONTENT_TYPE)

    async def _status(self) -> Page:
        return json_page(await self._state.status())

    async def _readiness(self) -> Page:
        await trio.lowlevel.checkpoint()
        problem = self._state.unready
        if problem:
            return text_page(problem, HTTPStatus.SERVICE_UNAVAILABLE)
        return text_page("ready")

    async def _health(self) -> Page:
        await trio.lowlevel.checkpoint()
        return text_page("alive")

    def _exposition(self) -> Iterator[str]:
        plane = self._state.plane
        return plane.metrics.text(plane.decider.snapshot, trio.current_time(), self._families())

    def _families(self) -> Iterable[Family]:
        plane = self._state.plane
        yield metrics.build_family(self._settings.node)
        yield from process_families()
        yield from metrics.knowledge_families(self._state.store.revision, plane.decider.snapshot)
        yield from metrics.flow_families(plane.reports)
        yield from metrics.reactor_families(plane.reactor)
        yield self._state.health.family()
        yield metrics.dns_family(self._dns)
        yield metrics.log_family(self._sink)
        cloud = self._state.cloud()
        if cloud is not None:
            yield from edgehub_families(cloud)
        kubernetes = self._state.kubernetes()
        if kubernetes is not None:
            yield from kubernetes_families(kubernetes)
        yield from self._state.link_families()
        yield from metrics.endpoint_families(
            plane.decider.traffic, self._settings.metrics.max_meters
        )
