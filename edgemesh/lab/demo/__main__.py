"""Plays one scenario in a lab of its own, which is gone afterwards, however it ended."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from edgemesh.lab import cluster
from edgemesh.lab.demo import journeys, paths, policies, script, services
from edgemesh.lab.demo.removal import remove_without_a_trace, traces
from edgemesh.lab.demo.stage import Stage, StepFailedError
from edgemesh.lab.state import home
from edgemesh.model.errors import OperatorError

_EDGE_NODES = 2
_CLEAN_UP_SECONDS = 60.0
# A UDP flow is over, and reported, after a silence of this length.
_SETTINGS = {"proxy": {"udp_idle_timeout_seconds": 1.0}}


async def play_services(stage: Stage) -> None:
    """A Service called by its name in every way, and the kernel left as it was found."""
    before = await traces(stage)
    await _play_steps(services.STEPS, stage)
    await stage.delete(*(name for step in services.STEPS for name in step.manifests))

    async def play_last(stage: Stage) -> script.Outcome:
        return await remove_without_a_trace(stage, before)

    last = script.Step("Nothing is left behind", (), play_last)
    await _play(len(services.STEPS) + 1, last, stage)


async def play_policies(stage: Stage) -> None:
    """Requests routed, shared out, limited, broken off and repeated, as policies say."""
    await _play_steps(policies.STEPS, stage)


async def play_paths(stage: Stage) -> None:
    """One Service called over each path: who moves the bytes, how late, at what cost."""
    await _play_steps(paths.steps(), stage)


async def play_journeys(stage: Stage) -> None:
    """Between nodes that do not reach each other, to the cloud and back, in five protocols."""
    await _play_steps(journeys.STEPS, stage)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Args:
        play: does it, in a lab whose agents are not started yet.
        with_bpf: whether they may use BPF.
        with_hub: whether a cloud joins them, and edge nodes reach nobody else.
    """

    play: Callable[[Stage], Awaitable[None]]
    with_bpf: bool = False
    with_hub: bool = False


_SCENARIOS = {
    "services": Scenario(play_services),
    "policies": Scenario(play_policies),
    "paths": Scenario(play_paths, with_bpf=True),
    "journeys": Scenario(play_journeys, with_hub=True),
}


def main() -> int:
    """Read the scenario's name and play it; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("scenario", nargs="?", default="services", choices=sorted(_SCENARIOS))
    parser.add_argument("--list", action="store_true", help="show the scenarios")
    options = parser.parse_args()
    if options.list:
        for name, scenario in _SCENARIOS.items():
            _say(f"{name:10} {scenario.play.__doc__}")
        return 0
    try:
        return trio.run(_run, options.scenario)
    except OperatorError as error:
        _complain(str(error))
        return 2


async def _run(scenario: str) -> int:
    if os.geteuid() != 0:
        raise OperatorError("the demo is made of network namespaces", "run it as root")
    ended_by: list[signal.Signals] = []

    async def heed_signals(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as numbers:
            async for number in numbers:
                ended_by.append(signal.Signals(number))
                scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heed_signals, nursery.cancel_scope)
        problem = await _play_in_a_lab(scenario)
        nursery.cancel_scope.cancel()
    if ended_by:
        _complain(f"ended by {ended_by[0].name}; the lab is gone")
        return 128 + ended_by[0]
    if problem:
        _complain(problem)
        return 1
    _say("\nEverything was answered as promised.")
    return 0


async def _play_in_a_lab(name: str) -> str:
    """Play, and tear down also when cancelled; return what went wrong, "" when nothing did."""
    scenario = _SCENARIOS[name]
    stage = Stage(home(f"demo-{secrets.token_hex(3)}"))
    try:
        state = await cluster.up(
            stage.home,
            _EDGE_NODES,
            with_agents=False,
            with_bpf=scenario.with_bpf,
            with_hub=scenario.with_hub,
            settings=_SETTINGS,
        )
        nodes = ", ".join(f"{node.name} {node.addresses[0]}" for node in state.nodes)
        _say(f"edgemesh demo, scenario {name}; lab {state.name}: {nodes}")
        await scenario.play(stage)
    except (StepFailedError, OperatorError) as error:
        return str(error)
    finally:
        with trio.move_on_after(_CLEAN_UP_SECONDS, shield=True):
            await cluster.down(stage.home)
    return ""


async def _play_steps(steps: Sequence[script.Step], stage: Stage) -> None:
    await cluster.start_agents(stage.home)
    for number, step in enumerate(steps, start=1):
        await stage.delete(*step.without)
        await stage.apply(*step.manifests)
        await _play(number, step, stage)


async def _play(number: int, step: script.Step, stage: Stage) -> None:
    _say(f"\n{script.heading(number, step)}")
    try:
        outcome = await step.play(stage)
    except (StepFailedError, OperatorError) as error:
        raise StepFailedError(f"FAILED in step {number}, {step.title}: {error}") from error
    _say(script.body(outcome))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # what a demo is for


def _complain(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
