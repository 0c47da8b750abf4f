"""Whatever has happened, and gone wrong, in the end a sink has what the server has.

Every history is drawn from its number alone: what changes and when, what goes wrong, and whether
an API server or a MetaServer is asked. The clock jumps, so that hours take milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from apiserver.faults import Faults
from apiserver.front import Front
from apiserver.metaserver import MetaServer
from apiserver.server import ApiServer
from reflector_fixtures import (
    RULES,
    SERVICES,
    SLICES,
    URL,
    MemorySink,
    memory_access,
    reflecting,
)

from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Name, Resource

SETTINGS = KubernetesSettings(server=URL, page_objects=3, batch_objects=4)
RESOURCES = (SERVICES, SLICES, RULES)
BODIES: Mapping[Resource, Mapping[str, Any]] = {
    SERVICES: {"spec": {"ports": [{"port": 80}]}},
    SLICES: {"addressType": "IPv4", "endpoints": []},
    RULES: {"spec": {}},
}
# Beyond all pauses, watches and lists that there are.
SETTLING_SECONDS = 3600.0
STEPS = 25


def expected(server: Front, resource: Resource) -> dict[Name, Any]:
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    objects = server.objects(resource.path)
    return {Name(*key): head | body for key, body in objects.items()}


class History:
    """One history, drawn from its number."""

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)
        self.server: Front = (MetaServer if number % 3 == 0 else ApiServer)()
        # A MetaServer is asked every 30 seconds, and so less of its time makes as much happen.
        self.longest = 40.0 if isinstance(self.server, MetaServer) else 400.0
        self.pauses = (0.0, 0.1, 3.0, self.longest / 3, self.longest)
        self.has_rules = False
        for _ in range(self.chance.randrange(12)):
            self._change()

    async def run(self) -> None:
        """Let things happen, then let everything be well again."""
        faults = Faults(self.chance.randrange(2**32), chance=self.chance.choice([0.1, 0.3, 0.6]))
        self.server.faults = faults
        for _ in range(STEPS):
            await trio.sleep(self.chance.choice(self.pauses))
            self._happen()
        self.server.faults = None
        if isinstance(self.server, MetaServer):
            self.server.return_cloud()
        if not self.has_rules:
            self._install()

    def _happen(self) -> None:
        match self.chance.randrange(12):
            case 0:
                self.server.compact()
            case 1:
                self.server.end_watches()
            case 2 if not self.has_rules:
                self._install()
            case 3 if isinstance(self.server, MetaServer):
                if self.server.connected:
                    self.server.lose_cloud()
                else:
                    self.server.return_cloud()
            case _:
                for _ in range(self.chance.randrange(6)):
                    self._change()

    def _install(self) -> None:
        self.has_rules = True
        self.server.install_crd("rules")

    def _change(self) -> None:
        known = RESOURCES if self.has_rules else RESOURCES[:2]
        resource = self.chance.choice(known)
        name = self.chance.choice("abcdefgh")
        if ("default", name) in self.server.objects(resource.path) and self.chance.random() < 0.5:
            self.server.delete(resource.path, "default", name)
        else:
            labels = {"turn": str(self.chance.randrange(1000))}
            body = {"metadata": {"name": name, "labels": labels}, **BODIES[resource]}
            self.server.put(resource.path, body)


@asynccontextmanager
async def followed(history: History, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemorySink]:
    """A sink that all resources reach."""
    sink = MemorySink()
    async with AsyncExitStack() as stack:
        access = await stack.enter_async_context(
            memory_access(history.server, SETTINGS, monkeypatch)
        )
        for resource in RESOURCES:
            await stack.enter_async_context(
                reflecting(access, sink, SETTINGS, resource, history.chance.random)
            )
        yield sink


async def play(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(number)

    def is_equal() -> bool:
        return all(
            sink.objects.get(resource, {}) == expected(history.server, resource)
            for resource in RESOURCES
        )

    async with followed(history, monkeypatch) as sink:
        await history.run()
        with trio.move_on_after(SETTLING_SECONDS):
            await sink.until(is_equal)
        for resource in RESOURCES:
            found = sink.objects.get(resource, {})
            assert found == expected(history.server, resource), f"history {number}"
        # And nothing that comes late undoes it.
        await trio.sleep(history.longest)
        assert is_equal(), f"history {number}"
    assert history.server.violations == [], f"history {number}"


@pytest.mark.parametrize("first", [0, 10])
async def test_a_few_histories_end_with_what_the_server_has(
    first: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    for number in range(first, first + 10):
        await play(number, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 1000, 100))
async def test_a_thousand_histories_end_with_what_the_server_has(
    first: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    for number in range(first, first + 100):
        await play(number, monkeypatch)
