"""How flows come to the mover that suits them, and back."""

from __future__ import annotations

import pytest
import trio
from mover_rules import Always
from plane_fixtures import Peer, World, running

from edgemesh.model.flows import Mover
from edgemesh.model.policies import Path, Policy
from edgemesh.proxy.flow import Flow
from edgemesh.proxy.forward.carried import Carried
from edgemesh.proxy.forward.relay import resume_relay

pytestmark = pytest.mark.root

MUCH = bytes(4_000_000)
SMALL = 4096


async def send_much(sender: Peer, receiver: Peer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, MUCH)
        assert await receiver.receive(len(MUCH)) == MUCH


async def talk(one: Peer, two: Peer, times: int) -> None:
    for _ in range(times):
        await one.send(b"ping")
        assert await two.receive(4) == b"ping"
        await two.send(b"pong")
        assert await one.receive(4) == b"pong"


def mover_of(world: World) -> Mover:
    (flow,) = world.plane.flows
    assert isinstance(flow, Flow)
    return flow.stage.carried.mover  # type: ignore[union-attr,no-any-return]


@pytest.mark.parametrize("upwards", [True, False], ids=["upwards", "downwards"])
async def test_a_flow_that_carries_much_is_spliced_and_its_report_says_so(*, upwards: bool) -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await (send_much(client, endpoint) if upwards else send_much(endpoint, client))
        client.close()
        endpoint.close()
        report = await world.report()
        assert (report.path, report.movers) == ("splice", ("relay", "splice"))
        assert report.bytes_sent + report.bytes_received == len(MUCH)


async def test_a_flow_of_small_messages_is_relayed_while_nothing_is_better() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await talk(client, endpoint, 100)
        client.close()
        endpoint.close()
        report = await world.report()
        assert (report.path, report.movers) == ("relay", ("relay",))


async def test_a_flow_that_carried_nothing_had_no_mover() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        client.close()
        endpoint.close()
        assert (await world.report()).movers == ()


async def test_a_policy_may_ask_for_the_relay() -> None:
    async with running() as world:
        server = world.serve()
        world.service(server.endpoint, policy=Policy(path=Path.RELAY))
        client = await world.call()
        endpoint = await server.accept()
        await send_much(client, endpoint)
        client.close()
        endpoint.close()
        report = await world.report()
        assert (report.path, report.movers) == ("relay", ("relay",))


async def test_so_may_the_settings() -> None:
    async with running(splice="off") as world:
        client, endpoint = await world.connected()
        await send_much(client, endpoint)
        client.close()
        endpoint.close()
        assert (await world.report()).movers == ("relay",)


async def test_a_flow_that_talks_after_it_has_carried_much_is_relayed_again() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await send_much(client, endpoint)
        assert mover_of(world) is Mover.SPLICE
        await talk(client, endpoint, 50)
        assert mover_of(world) is Mover.RELAY
        await send_much(endpoint, client)
        assert mover_of(world) is Mover.SPLICE


async def test_flows_at_rest_hold_no_pipe() -> None:
    async with running() as world:
        client, endpoint = await world.connected()
        await send_much(client, endpoint)
        assert mover_of(world) is Mover.SPLICE
        assert world.plane.pipes.taken == 0


async def test_a_flow_that_ends_with_something_in_its_pipe_takes_the_pipe_along() -> None:
    async with running(rule=Always(Mover.SPLICE)) as world:
        client, _ = await world.connected(receive=SMALL)
        await fill(world, client)
        assert world.plane.pipes.taken == 1
        client.reset()
        assert (await world.report()).ending == "client-reset"
        assert world.plane.pipes.taken == 0


async def test_while_stuck_flows_hold_all_pipes_others_are_relayed() -> None:
    async with running(rule=Always(Mover.SPLICE), max_pipes=1) as world:
        server = world.serve(receive=SMALL)
        world.service(server.endpoint)
        stuck = await world.call()
        listener = await server.accept()
        sent = await fill(world, stuck)
        client = await world.call()
        endpoint = await server.accept()
        await send_much(client, endpoint)
        client.close()
        endpoint.close()
        assert (await world.report()).ending == "closed"
        stuck.half_close()
        assert len(await listener.receive_all()) == sent


async def fill(world: World, sender: Peer) -> int:
    """Send until its way is stuck, the pipe included; how much that took."""
    await sender.send(b"first")
    sent = 5
    while (count := sender.send_what_fits(MUCH)) or not world.plane.pipes.taken:
        sent += count
        await world.comes_to_rest()
    return sent


async def test_a_mover_that_cannot_do_with_a_flow_is_not_asked_again() -> None:
    asked = []

    def decline(flow: Flow, carried: Carried) -> None:
        asked.append(flow)
        carried.unable |= {Mover.SOCKMAP}
        resume_relay(flow, carried)

    async with running() as world:
        world.plane.movers.offer(Mover.SOCKMAP, decline)
        client, endpoint = await world.connected()
        await talk(client, endpoint, 50)
        await send_much(client, endpoint)
        assert len(asked) == 1
        assert mover_of(world) is Mover.SPLICE


async def test_a_mover_that_is_withdrawn_meanwhile_leaves_the_flow_to_the_relay() -> None:
    async with running() as world:
        world.plane.movers.offer(Mover.SOCKMAP, resume_relay)
        world.plane.promotion = WithdrawingRule(world)
        client, endpoint = await world.connected()
        await talk(client, endpoint, 3)
        assert mover_of(world) is Mover.RELAY


class WithdrawingRule(Always):
    """Decides for a mover that is gone when the flow comes to it."""

    def __init__(self, world: World) -> None:
        super().__init__(Mover.SOCKMAP)
        self._world = world

    def decide(self, *facts: object) -> Mover:  # type: ignore[override]
        decided = super().decide(*facts)  # type: ignore[arg-type]
        self._world.plane.movers.withdraw(Mover.SOCKMAP)
        return decided
