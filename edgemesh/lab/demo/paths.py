"""The scenario ``paths``: one Service, called over each path, and what that takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from edgemesh.lab.demo.script import Outcome, Step
from edgemesh.lab.demo.stage import Caller, Stage, StepFailedError, require
from edgemesh.lab.demo.timed_calls import Timed
from edgemesh.lab.patience import patient
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.flows import FlowReport, Mover
from edgemesh.model.policies import Path

_SERVICE = "single"
_METRICS = "http://127.0.0.1:15020/metrics"
# Programs are compiled and tried first; a policy reaches the kernel a moment after the agent.
_TAKEN_SECONDS = BpfSettings().build_seconds + BpfSettings().self_test_seconds
_TOLD_SECONDS = 3.0
# Of a call that is known to be balanced in the kernel.
_COUNTED_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.05
# Of what the agent spends on a call when it relays it.
_SPARED = 0.5


@dataclass(frozen=True, slots=True)
class _Kind:
    """One way to use a connection.

    Args:
        name: for people.
        count, body_bytes: requests that are timed, and what each of them brings along.
    """

    name: str
    count: int
    body_bytes: int


_PROBE = _Kind("probe", 1, 0)
_SMALL = _Kind("3,000 times GET", 3000, 0)
_LARGE = _Kind("10 times POST of 16 MiB", 10, 16 * 1024 * 1024)

# Who has to have a hand in it; for requests it is the agent itself.
_MOVERS: dict[Path, dict[_Kind, Mover]] = {
    Path.SPLICE: {_SMALL: Mover.SOCKMAP, _LARGE: Mover.SPLICE},
    Path.RELAY: {_SMALL: Mover.RELAY, _LARGE: Mover.RELAY},
}


@dataclass(frozen=True, slots=True)
class _Figures:
    """What one kind of use took; ``movers`` are those that moved bytes, as the agent tells it."""

    timed: Timed
    movers: tuple[str, ...]

    def __str__(self) -> str:
        told = f"median {_duration(self.timed.seconds)}"
        return f"{told}, {_duration(self.timed.agent_seconds)} of the agent's CPU each"


class _Comparison:
    """The steps, and what they have measured so far."""

    def __init__(self) -> None:
        self._measured: dict[Path, dict[_Kind, _Figures]] = {}

    async def over(self, path: Path, stage: Stage) -> Outcome:
        """Call the Service over a path, with small requests and with large ones."""
        caller = stage.caller("client")
        await _until_taken(stage, caller, path)
        figures = {kind: await _measure(stage, caller, path, kind) for kind in (_SMALL, _LARGE)}
        self._measured[path] = figures
        return Outcome(
            f"{_SMALL.name}, {_LARGE.name} at http://{_SERVICE}, on one connection each",
            caller.description,
            "; ".join(f"{kind.name}: {one}" for kind, one in figures.items()),
            f"{path}, {await _reason(stage, caller)}",
        )

    async def side_by_side(self, stage: Stage) -> Outcome:
        """All of it in one table."""
        small = {path: figures[_SMALL] for path, figures in self._measured.items()}
        relayed = small[Path.RELAY].timed.agent_seconds
        for path in (Path.CONNECT, Path.SPLICE):
            spent = small[path].timed.agent_seconds
            text = f"{_duration(spent)} of the agent's CPU for a call over {path}"
            require(spent < relayed * _SPARED, f"{text}, {_duration(relayed)} over relay")
        peers = {one.timed.peer for figures in self._measured.values() for one in figures.values()}
        (pod,) = stage.pods_of(_SERVICE).values()
        require(len(peers) == 1, f"the caller was connected to {', '.join(sorted(peers))}")
        require(peers.isdisjoint(pod.addresses), "the caller was connected to the pod's address")
        return Outcome(
            "getpeername() on each connection; the processor time of the agent",
            stage.caller("client").description,
            f"{peers.pop()} always, the Service's address",
            table=_table(self._measured),
        )


def steps() -> tuple[Step, ...]:
    """The steps, with nothing measured yet."""
    comparison = _Comparison()
    titles = {
        Path.CONNECT: "Balanced when the caller connects",
        Path.SPLICE: "The agent connects, the kernel moves the bytes",
        Path.RELAY: "The agent moves the bytes",
        Path.HTTP: "The agent sees each request",
    }
    played = [
        Step(title, (f"{_SERVICE}-over-{path}",), partial(comparison.over, path))
        for path, title in titles.items()
    ]
    first = Step(played[0].title, ("client", _SERVICE, *played[0].manifests), played[0].play)
    return (first, *played[1:], Step("Side by side", (), comparison.side_by_side))


async def _until_taken(stage: Stage, caller: Caller, path: Path) -> None:
    """Call until a call takes the path.

    Raises:
        StepFailedError: none does, with the agent's reasons.
    """
    with trio.move_on_after(patient(_TAKEN_SECONDS)):
        # What takes it is another process: there is no event to wait for.
        while not await _takes(stage, caller, path):  # noqa: ASYNC110
            await trio.sleep(_ASK_AGAIN_SECONDS)
        return
    states = await stage.run(stage.caller(caller.node), ["edgemesh", "status"])
    paths = [" ".join(line.split()) for line in states.splitlines() if line.startswith("path ")]
    raise StepFailedError(f"calls do not take {path}: {'; '.join(paths)}")


async def _takes(stage: Stage, caller: Caller, path: Path) -> bool:
    before = await _connections(stage, caller, path)
    timed = await _call(stage, caller, _PROBE)
    if path is Path.CONNECT:
        return await _is_counted(stage, caller, before, patient(_TOLD_SECONDS))
    with trio.move_on_after(patient(_TOLD_SECONDS)):
        return (await _flow(stage, caller, timed)).path == path
    return False


async def _measure(stage: Stage, caller: Caller, path: Path, kind: _Kind) -> _Figures:
    """Make calls and see who moved their bytes.

    Raises:
        StepFailedError: the calls went another way.
    """
    before = await _connections(stage, caller, path)
    timed = await _call(stage, caller, kind)
    if path is Path.CONNECT:
        counted = await _is_counted(stage, caller, before, patient(_COUNTED_SECONDS))
        require(counted, "the agent has not counted the connection as balanced in the kernel")
        return _Figures(timed, ())
    flow = await _flow(stage, caller, timed)
    wanted = _MOVERS.get(path, {}).get(kind)
    took = f"{flow.path}, moved by {', '.join(flow.movers) or 'nobody'}"
    require(flow.path == path, f"{kind.name} took {took}")
    require(wanted is None or wanted in flow.movers, f"{kind.name} took {took}")
    return _Figures(timed, flow.movers)


async def _call(stage: Stage, caller: Caller, kind: _Kind) -> Timed:
    agent = stage.state.agents[caller.node].pid
    numbers = [kind.count, kind.body_bytes, agent]
    program = [sys.executable, "-m", "edgemesh.lab.demo.timed_calls", _SERVICE]
    return Timed(**json.loads(await stage.run(caller, [*program, *map(str, numbers)])))


async def _flow(stage: Stage, caller: Caller, timed: Timed) -> FlowReport:
    return await stage.flow(caller, f"default/{_SERVICE}:80", timed.port)


async def _is_counted(stage: Stage, caller: Caller, before: float, seconds: float) -> bool:
    """Whether a connection more is counted as balanced in the kernel; that takes a moment."""
    with trio.move_on_after(seconds):
        # The agent is another process.
        while await _connections(stage, caller, Path.CONNECT) <= before:  # noqa: ASYNC110
            await trio.sleep(_ASK_AGAIN_SECONDS)
        return True
    return False


async def _connections(stage: Stage, caller: Caller, path: Path) -> float:
    """How many connections to the Service have taken a path so far."""
    told = await stage.run(stage.caller(caller.node), ["curl", "-sS", _METRICS])
    labels = (f'service="{_SERVICE}"', f'path="{path}"')
    return sum(
        float(line.split()[-1])
        for line in told.splitlines()
        if line.startswith("edgemesh_connections_total{") and all(one in line for one in labels)
    )


async def _reason(stage: Stage, caller: Caller) -> str:
    """What the command says about the path that calls take, and why."""
    argv = ["edgemesh", "get", "services", _SERVICE, "-o", "wide"]
    headings, line = (await stage.run(stage.caller(caller.node), argv)).splitlines()
    return line[headings.index("WHY") :].strip()


def _table(measured: dict[Path, dict[_Kind, _Figures]]) -> str:
    """A line for each path, and three columns for each kind of use."""
    headings = ["", *(word for kind in (_SMALL, _LARGE) for word in (kind.name, "", ""))]
    titles = ["path", *["moved by", "median", "agent's CPU each"] * 2]
    lines = [
        [path, *(word for kind in (_SMALL, _LARGE) for word in _words(figures[kind]))]
        for path, figures in measured.items()
    ]
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    return "\n".join(_line(cells, widths) for cells in (headings, titles, *lines))


def _words(figures: _Figures) -> tuple[str, str, str]:
    timed = figures.timed
    movers = ", ".join(figures.movers) or "-"
    return movers, _duration(timed.seconds), _duration(timed.agent_seconds)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"
