"""The paths that need the kernel: brought up beside an agent that serves already, by relaying.

Programs are loaded and tried in processes of their own, which takes some seconds. What works is
used from then on; what does not is told once in the log, and in the agent's status for as long as
it runs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import trio

from edgemesh.app.connect_sync import ConnectSync
from edgemesh.app.follow import Follower
from edgemesh.app.intercept import Interceptor
from edgemesh.app.selftest.run import self_test
from edgemesh.kernel.bpf.attached import lost_hooks
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.kernel.bpf.foreign import (
    cgroup_hooks,
    foreign_at_cgroup,
    foreign_on_sockmaps,
    pinned_programs,
)
from edgemesh.kernel.bpf.gate_maps import Gate
from edgemesh.kernel.bpf.loader import (
    adopt_or_load,
    cgroup_directory,
    release,
    remove_abandoned,
)
from edgemesh.kernel.bpf.observed_maps import ObservedMaps
from edgemesh.kernel.bpf.pins import Loaded
from edgemesh.kernel.splice_probe import splice_problem
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.errors import OperatorError
from edgemesh.model.flows import Mover
from edgemesh.model.paths import AvailablePaths
from edgemesh.model.policies import Path as ForwardingPath
from edgemesh.model.services import ServicePort, Snapshot
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger
from edgemesh.policy.paths import choose_path
from edgemesh.proxy.forward.observer import Observer
from edgemesh.proxy.forward.sockmap import Sockmap
from edgemesh.proxy.plane import Plane

_BEING_LOADED = "being loaded"
_OFF = "bpf.enabled is false"
_LAST_ID = 2**32 - 1
# Whether our programs are still attached is looked at so often, for microseconds.
_LOOK_SECONDS = 1.0

Maps = TypeVar("Maps")

_log = get_logger("paths")


class KernelPaths:
    """See the module; `run` does the work."""

    def __init__(
        self, settings: Settings, plane: Plane, follower: Follower, interceptor: Interceptor
    ) -> None:
        """Change nothing yet.

        Args:
            settings: of the agent.
            plane: whose flows are moved, and that is told what works.
            follower: told as well, for the conditions of policies.
            interceptor: told which calls it need not divert.
        """
        self._settings = settings
        self._plane = plane
        self._follower = follower
        self._interceptor = interceptor
        self._sync: ConnectSync | None = None
        self._lost = ""
        self._observer: Observer | None = None

    @property
    def problem(self) -> str:
        """What an operator should look at, "" when there is nothing."""
        return self._sync.problem if self._sync else self._lost

    def want(self, snapshot: Snapshot) -> None:
        """Balance by a new snapshot."""
        if self._sync is not None:
            self._sync.want(snapshot)
        if self._observer is not None:
            self._observer.want(snapshot)

    def reach_by_bus(self, nodes: frozenset[str]) -> None:
        """Leave calls of endpoints on ``nodes`` to the agent from now on."""
        if nodes != self._available.by_bus:
            self._publish(self._available._replace(by_bus=nodes))
            if self._sync is not None:
                self._sync.look_again()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load, try and use what works, until cancelled; started at once.

        Ownership: what was loaded for this agent is unloaded at the end; connections live on.
        Cancellation: waits for the end of a load that is under way.
        """
        bpf = self._settings.bpf
        state = _BEING_LOADED if bpf.enabled else _OFF
        by_bus = self._available.by_bus
        self._publish(AvailablePaths(state, state, self._try_splice(), by_bus=by_bus))
        task_status.started()
        if not bpf.enabled:
            self._interceptor.taken_over(None)
            await trio.to_thread.run_sync(_remove_abandoned, bpf)
            return
        try:
            loaded = await trio.to_thread.run_sync(_load, bpf)
        except OperatorError as error:
            self._publish(self._available._replace(connect=error.problem, sockmap=error.problem))
            _log.warning("BPF is not used", problem=error.problem, remedy=error.remedy)
            self._interceptor.taken_over(None)
            return
        try:
            await self._use(loaded)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_release, bpf)

    @property
    def _available(self) -> AvailablePaths:
        return self._plane.decider.available

    def _publish(self, available: AvailablePaths) -> None:
        self._plane.decider.available = available
        self._follower.available = available

    def _try_splice(self) -> str:
        if self._settings.proxy.splice == "off":
            return "proxy.splice is off"
        problem = splice_problem()
        if problem:
            self._plane.movers.withdraw(Mover.SPLICE)
        return problem

    async def _use(self, loaded: Loaded) -> None:
        """Use what works until cancelled."""
        began = trio.current_time()
        problems = await self._try(loaded.groups)
        tried_seconds = trio.current_time() - began
        self._publish(self._available._replace(failures=problems["sockops"]))
        backlog_bytes = self._settings.bpf.backlog_bytes
        with ExitStack() as stack:
            maps = _opened(stack, problems, "connect", lambda: ConnectMaps(loaded))
            gate = _opened(stack, problems, "gate", lambda: Gate(loaded.map, backlog_bytes))
            observed = _opened(stack, problems, "observed_gate", lambda: ObservedMaps(loaded.map))
            async with trio.open_nursery() as nursery:
                if maps is not None:
                    await nursery.start(self._balance, maps)
                else:
                    self._interceptor.taken_over(None)
                if gate is not None:
                    sockmap = Sockmap(self._plane, gate)
                    nursery.start_soon(self._move_through, sockmap, gate)
                    if observed is not None:
                        self._observer = Observer(self._plane, sockmap, observed)
                        await nursery.start(self._observer.run)
                self._publish(
                    self._available._replace(
                        connect=problems["connect"],
                        sockmap=problems["gate"],
                        observed=problems["observed_gate"],
                    )
                )
                self._tell(problems, tried_seconds)
                await trio.sleep_forever()

    async def _balance(
        self, maps: ConnectMaps, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Balance calls when they connect for as long as the programs are attached."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._new_sync(maps).run)
            task_status.started()
            lost = await _until_lost(self._settings.bpf)
            nursery.cancel_scope.cancel()
        self._sync = None
        self._lost = f"programs were detached by somebody else: {lost}"
        _log.error("calls are balanced no more", problem=self._lost)
        self._publish(self._available._replace(connect=self._lost))
        self._interceptor.taken_over(None)

    async def _move_through(self, sockmap: Sockmap, gate: Gate) -> None:
        """Let flows be moved through the gate until the plane has ended."""
        sockmap.start()
        # Flows that are in the gate need it to the last.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_gate, sockmap, gate)
                await self._plane.ended.wait()
                nursery.cancel_scope.cancel()

    async def _watch_gate(self, sockmap: Sockmap, gate: Gate) -> None:
        """Do without the gate once somebody has taken it away."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            if not gate.is_whole:
                break
        lost = "its program was detached by somebody else"
        _log.error("the kernel moves small messages no more", problem=lost)
        self._publish(self._available._replace(sockmap=lost, observed=lost))
        sockmap.abandon(lost)

    async def _try(self, groups: Mapping[str, str]) -> dict[str, str]:
        """For each group "" when it can be used, else why not."""
        problems = dict(groups)
        there = tuple(name for name, problem in groups.items() if not problem)
        settings = self._settings
        found = await self_test(settings.bpf, settings.proxy, there)
        problems.update(found)
        if found.get("gate"):
            problems["gate"] = await trio.to_thread.run_sync(
                _taken_by_others, settings.bpf, problems["gate"]
            )
        if problems["connect"]:
            problems["connect"] = await trio.to_thread.run_sync(
                _in_the_way, settings.bpf, problems["connect"]
            )
        return problems

    def _new_sync(self, maps: ConnectMaps) -> ConnectSync:
        first_id = random.randint(1, _LAST_ID)  # noqa: S311 - it protects nothing
        self._sync = ConnectSync(
            maps,
            self._plane,
            self._settings.bpf,
            self._is_balanced,
            self._interceptor,
            first_id=first_id,
        )
        return self._sync

    def _is_balanced(self, port: ServicePort) -> bool:
        """Whether calls of a port are to be balanced when they connect, which works here."""
        # It is published only when the maps are what they should be.
        available = self._available._replace(connect="")
        return (
            choose_path(port, port.application_protocol, available).path is ForwardingPath.CONNECT
        )

    def _tell(self, problems: Mapping[str, str], tried_seconds: float) -> None:
        found = {**problems, "splice": self._available.splice}
        lacking = {name: problem for name, problem in found.items() if problem}
        seconds = round(tried_seconds, 3)
        if lacking:
            _log.warning("not every path is available", **lacking, self_test_seconds=seconds)
        else:
            _log.info("every path is available", self_test_seconds=seconds)


async def _until_lost(bpf: BpfSettings) -> str:
    """Wait until others have taken programs of ours away; from which hooks."""
    try:
        cgroup, own = cgroup_directory(bpf), pinned_programs(bpf.directory)
        while True:
            lost = lost_hooks(cgroup, own)
            if lost:
                return ", ".join(lost)
            await trio.sleep(_LOOK_SECONDS)
    except (OSError, OperatorError) as error:
        return str(error)


def _load(bpf: BpfSettings) -> Loaded:
    try:
        return adopt_or_load(bpf)
    except OperatorError as error:
        raise OperatorError(_in_the_way(bpf, error.problem), error.remedy) from error


def _release(bpf: BpfSettings) -> None:
    try:
        release(bpf)
    except OperatorError as error:
        _log.warning("BPF stays loaded, unused", problem=error.problem, remedy=error.remedy)


def _remove_abandoned(bpf: BpfSettings) -> None:
    """Take away what an agent with BPF left here when it was killed."""
    try:
        if remove_abandoned(bpf):
            _log.info("what a dead agent had loaded is removed", directory=str(bpf.directory))
    except OperatorError as error:
        _log.warning("BPF of a dead agent stays", problem=error.problem, remedy=error.remedy)


def _opened(
    stack: ExitStack,
    problems: dict[str, str],
    group: str,
    open_maps: Callable[[], AbstractContextManager[Maps]],
) -> Maps | None:
    """The maps of a group that works, closed with the stack; None where there are none."""
    if problems[group]:
        return None
    try:
        return stack.enter_context(open_maps())
    except OSError as error:
        problems[group] = f"its maps cannot be opened: {error.strerror}"
        return None


def _in_the_way(bpf: BpfSettings, problem: str) -> str:
    """A problem with what causes it, where that is a program of somebody else."""
    try:
        own = pinned_programs(bpf.directory)
        programs = foreign_at_cgroup(cgroup_directory(bpf), cgroup_hooks(), own)
    except (OSError, OperatorError):
        return problem
    exclusive = [program for program in programs if program.exclusive]
    return f"{exclusive[0]} allows no others" if exclusive else problem


def _taken_by_others(bpf: BpfSettings, problem: str) -> str:
    """A problem of sockets in the gate with those who may have them."""
    try:
        others = foreign_on_sockmaps(pinned_programs(bpf.directory))
    except OSError:
        return problem
    names = ", ".join(map(str, others))
    return f"{problem}; sockets may be taken by {names}" if others else problem
