"""The scenario ``journeys``: from node to node, to the cloud and back, in five protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from edgemesh.lab import cluster
from edgemesh.lab.demo.requests import ask
from edgemesh.lab.demo.script import Outcome, Step
from edgemesh.lab.demo.stage import Caller, Stage, StepFailedError, require
from edgemesh.model.flows import FlowReport

_MOVED_SECONDS = 60.0
_ASK_AGAIN_SECONDS = 0.1
_SPREAD_SECONDS = 20.0
_OPEN_CALLS = 50
# As the policy has it.
_BURST = 5


@dataclass(frozen=True, slots=True)
class _Protocol:
    """One of the five.

    Args:
        name: for people.
        port: of each Service.
        call: makes one call of it; returns the caller's own port.
    """

    name: str
    port: int
    call: Callable[[Stage, Caller, str, int], Awaitable[int]]


async def _http(stage: Stage, caller: Caller, service: str, port: int) -> int:
    argv = ["curl", "-sS", "-m", "20", f"http://{service}:{port}", "-w", "%{local_port}"]
    pod, own_port = (await stage.run(caller, argv)).split()
    require(pod == service, f"{pod!r} answered in the place of {service!r}")
    return int(own_port)


async def _grpc(stage: Stage, caller: Caller, service: str, port: int) -> int:
    answer = await stage.call(caller, "grpc", service, port)
    said = (answer["status"], answer["pod"], answer["equal"])
    require(said == ("0", service, True), f"status, pod and message: {said}")
    return int(answer["port"])


async def _echo(kind: str, stage: Stage, caller: Caller, service: str, port: int) -> int:
    answer = await stage.call(caller, kind, service, port)
    equal = answer["equal"] if "equal" in answer else answer["sent"] == answer["received"]
    require(equal is True or equal == [True] * 3, f"what came back is not what was sent: {answer}")
    return int(answer["port"])


_PROTOCOLS = (
    _Protocol("HTTP", 80, _http),
    _Protocol("gRPC", 9000, _grpc),
    _Protocol("WebSocket", 8081, partial(_echo, "websocket")),
    _Protocol("TCP", 7000, partial(_echo, "half-close")),
    _Protocol("UDP", 5300, partial(_echo, "datagrams")),
)


async def _journey(word: str, service: str, way: str, stage: Stage) -> Outcome:
    """Call a Service in every protocol, and see which way it was reached."""
    caller = stage.caller(word)
    rows: list[str] = []
    for protocol in _PROTOCOLS:
        try:
            port = await protocol.call(stage, caller, service, protocol.port)
        except StepFailedError as error:
            raise StepFailedError(f"{protocol.name}: {error}") from error
        flow = await stage.flow(caller, f"default/{service}:{protocol.port}", port)
        taken = flow.way.partition(" ")[0]
        require(taken == way, f"{protocol.name} went by {taken or 'no bus'!r}, not {way!r}")
        rows.append(_row(protocol, flow))
    names = ", ".join(protocol.name for protocol in _PROTOCOLS)
    return Outcome(
        f"{service} in {names}",
        caller.description,
        "all of them, unchanged",
        table="\n".join(rows),
    )


def _row(protocol: _Protocol, flow: FlowReport) -> str:
    count = max(flow.bytes_sent, flow.bytes_received)
    over = f"by {flow.way}" if flow.way else "here"
    return (
        f"{protocol.name:10} {over:17} {flow.endpoint:18} {count:>10} bytes "
        f"{flow.duration * 1000:8.1f} ms"
    )


async def served_here(stage: Stage) -> Outcome:
    """Caller and endpoint on one node: the bus has no part in it."""
    return await _journey("edge-client", "near", "", stage)


async def edge_to_edge(stage: Stage) -> Outcome:
    """Neither edge reaches the other, so the cloud forwards what they say."""
    return await _journey("edge-client", "far", "hub", stage)


async def edge_to_cloud(stage: Stage) -> Outcome:
    """The cloud's router has a Rule for it, and balances."""
    return await _journey("edge-client", "shop", "cloud", stage)


async def cloud_to_edge(stage: Stage) -> Outcome:
    """Nobody gets into an edge, but the edge has gone out."""
    return await _journey("cloud-client", "far", "hub", stage)


async def servers_quota(stage: Stage) -> Outcome:
    """The node that runs the endpoint says how much it takes, whatever way calls come by."""
    caller = stage.caller("edge-client")
    with trio.move_on_after(_SPREAD_SECONDS):
        while True:
            answers = await ask(stage, caller, f"http://far/[1-{4 * _BURST}]")
            refused = [one for one in answers if one.status == 429]
            if refused:
                break
            # The policy takes its way by the cloud, too.
            await trio.sleep(_ASK_AGAIN_SECONDS)
        served = len(answers) - len(refused)
        text = f"{served} times 200, {len(refused)} times 429 ({refused[0].reason})"
        asked = f"http://far, {len(answers)} times at once"
        expected = f"about {_BURST} are served"
        return Outcome(asked, caller.description, text, expected=expected)
    raise StepFailedError("the quota of the servers refuses nobody")


async def the_way_opens(stage: Stage) -> Outcome:
    """Calls go on while the edges come to reach each other; they move to the direct link."""
    caller = stage.caller("edge-client")
    await cluster.join_edges(stage.home)
    made = 0
    with trio.move_on_after(_MOVED_SECONDS):
        while True:
            port = await _http(stage, caller, "far", 80)
            flow = await stage.flow(caller, "default/far:80", port)
            made += 1
            if flow.way.startswith("link"):
                answered = f"{made} calls without an error, the last by {flow.way}"
                outcome = await _journey("edge-client", "far", "link", stage)
                return Outcome(
                    "http://far, again and again",
                    caller.description,
                    answered,
                    "",
                    "",
                    outcome.table,
                )
    raise StepFailedError(f"after {made} calls they still go by {flow.way}")


async def without_the_cloud(stage: Stage) -> Outcome:
    """The cloud is killed: nodes serve what they know, by the links that they have."""
    await cluster.kill_hub(stage.home)
    caller = stage.caller("edge-client")
    for _ in range(_OPEN_CALLS):
        await _http(stage, caller, "far", 80)
    outcome = await _journey("edge-client", "far", "link", stage)
    answered = f"{_OPEN_CALLS} calls without an error, and one of each protocol"
    return Outcome(
        "kill -9 of the cloud; http://far", caller.description, answered, table=outcome.table
    )


STEPS = (
    Step("On one node", ("journeys",), served_here),
    Step("From edge to edge, by the cloud", (), edge_to_edge),
    Step("From the edge to the cloud, by its router", (), edge_to_cloud),
    Step("From the cloud to the edge", (), cloud_to_edge),
    Step("The quota of the side that serves", ("far-quota",), servers_quota),
    Step("The direct way opens", (), the_way_opens, ("far-quota",)),
    Step("The cloud is gone", (), without_the_cloud),
)
