"""Whatever has happened, and gone wrong, in the end a sink has what the server has.

Every history is drawn from its number alone: what changes and when, what goes wrong, and whether
an API server or a MetaServer is asked. The clock jumps, so that hours take milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from reflector_fixtures import MemorySink, memory_access, reflecting
from reflector_histories import RESOURCES, SETTINGS, SETTLING_SECONDS, History, expected


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
    for number in range(first, first + 5):
        await play(number, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, 1000, 100))
async def test_a_thousand_histories_end_with_what_the_server_has(
    first: int, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.abc.Clock
) -> None:
    for number in range(first, first + 100):
        await play(number, monkeypatch)
