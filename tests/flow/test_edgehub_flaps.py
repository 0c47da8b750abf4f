"""A connection that comes and goes costs the node nothing but the wait."""

from __future__ import annotations

import gc
import itertools

import pytest
import trio
import trio.testing
from edgehub_fixtures import Flapping, Written, hub_over, message, settled

from edgemesh.bus.edgehub.problems import CloudAwayError, CloudProblemError
from edgemesh.bus.edgehub.session import Session
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.sync import SyncPosition
from edgemesh.store.errors import StoreError
from edgemesh.wire.message import Message


def ready() -> Written:
    written = Written(SyncPosition("s", 1))
    written.gate.set()
    return written


async def test_a_cloud_that_is_not_there_is_asked_less_and_less_often(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    flapping.refusal = CloudProblemError("cloud:10000 cannot be reached")
    hub = hub_over(flapping, ready(), BusSettings(max_retry_seconds=30))
    with trio.move_on_after(1000):
        await hub.run()
    pauses = [later - sooner for sooner, later in itertools.pairwise(flapping.attempts)]
    assert pauses[:6] == pytest.approx([0.5, 1, 2, 4, 8, 16])
    assert pauses[6:] == pytest.approx([30] * len(pauses[6:]))
    assert (hub.connected, hub.problem) == (False, "cloud:10000 cannot be reached")


async def test_a_cloud_that_accepts_and_cuts_is_no_reason_for_a_storm_and_memory_stays_flat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    written = ready()
    hub = hub_over(flapping, written)
    sizes = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        for number in range(1, 101):
            (await flapping.accepted()).hang_up()
            await settled()
            written.batches.clear()
            if number in {50, 100}:
                gc.collect()
                sizes.append(sum(isinstance(one, Session | Message) for one in gc.get_objects()))
        nursery.cancel_scope.cancel()
    pauses = [later - sooner for sooner, later in itertools.pairwise(flapping.attempts)]
    assert len(pauses) >= 99
    assert min(pauses[7:]) >= 29
    assert hub.connections == 100
    assert sizes[1] <= sizes[0]


async def test_a_connection_that_lasted_is_made_again_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    hub = hub_over(flapping, ready())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        cloud = await flapping.accepted()
        await trio.sleep(100)
        ended = trio.current_time()
        cloud.hang_up()
        await flapping.accepted()
        assert flapping.attempts[1] - ended == pytest.approx(0.5, abs=0.1)
        assert hub.problem == ""
        nursery.cancel_scope.cancel()


async def test_the_state_says_connected_only_once_the_cloud_has_accepted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    hub = hub_over(flapping, ready())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        await trio.sleep(1)
        seen = [hub.connected]
        cloud = await flapping.accepted()
        seen.append(hub.connected)
        cloud.hang_up()
        await trio.sleep(0.1)
        seen.append(hub.connected)
        assert seen == [False, True, False]
        assert hub.problem == "the cloud is gone"
        nursery.cancel_scope.cancel()


async def test_who_asks_while_the_cloud_is_away_hears_why_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    hub = hub_over(flapping, ready())
    question = message("query", "default/configmap/a", group="meta")
    with pytest.raises(CloudAwayError, match="not reached yet"):
        await hub.ask(question, 5)
    flapping.refusal = CloudProblemError("no route to host")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        await trio.sleep(1)
        with pytest.raises(CloudAwayError, match="no route to host"):
            await hub.send(question)
        nursery.cancel_scope.cancel()


async def test_whoever_serves_applications_may_come_after_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flapping = Flapping()
    hub = hub_over(flapping, ready())
    taken: list[Message] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.run)
        cloud = await flapping.accepted()
        await cloud.push(message("GET", "80:/", group="user"))
        await settled()
        hub.on_user = taken.append
        await cloud.push(message("GET", "80:/late", group="user"))
        await settled()
        assert [one.route.resource for one in taken] == ["80:/late"]
        nursery.cancel_scope.cancel()


async def test_a_store_that_cannot_be_read_ends_the_attempt_and_not_the_agent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Broken(Written):
        async def begin(self) -> Written:
            await trio.lowlevel.checkpoint()
            raise StoreError("store: read refused")

    flapping = Flapping()
    hub = hub_over(flapping, Broken(SyncPosition()))
    with trio.move_on_after(10):
        await hub.run()
    assert len(flapping.attempts) > 2
    assert hub.problem == "store: read refused"
