"""Keep the kernel's maps equal to what the snapshot and the breakers say: path ``connect``."""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol, TypeVar

import trio

from edgemesh.app.connect_callers import ConnectCallers
from edgemesh.app.connect_counts import ConnectCounts
from edgemesh.kernel.bpf.connect_maps import ConnectMaps
from edgemesh.model.bpf_settings import BpfSettings
from edgemesh.model.connect import ConnectPort
from edgemesh.model.policies import EndpointRemoval
from edgemesh.model.services import PortKey, ServiceAddress, ServicePort, Snapshot
from edgemesh.observe.log import get_logger
from edgemesh.observe.slices import run_in_slices
from edgemesh.policy.connect.ids import MAX_ID
from edgemesh.policy.connect.plan import ConnectPlan, Place
from edgemesh.policy.connect.takeover import Takeover
from edgemesh.policy.connect.touched import addresses_of, touched_ports
from edgemesh.policy.traffic.breaker import Phase
from edgemesh.proxy.context import Context

# The lease is renewed, what was replaced is removed and counts are read so often.
_UPKEEP_SECONDS: Final = 1.0
# Counts while a breaker is half-open: what the kernel lets through meanwhile are trials, too.
_TRIAL_SECONDS: Final = 0.05
# Time alone changes shares and breakers in steps that need not be met more closely.
_LEAST_WAIT_SECONDS: Final = 0.01
# What found no room is tried again when something that was replaced has been removed.
_RETRY_SECONDS: Final = 5.0
_NO_ROOM: Final = "there is no room (bpf.connect_addresses, bpf.connect_endpoints)"
# So many rows are written on the data plane's thread, in a fraction of a millisecond.
_AT_ONCE: Final = 50
# Ports that are written together.
_BATCH: Final = 500
# Events that are heard before other tasks have their turn.
_EVENTS: Final = 100

_NEVER: Final = float("inf")

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = get_logger("connect")


class Diverts(Protocol):
    """Who sees to calls that the kernel does not balance: `Interceptor`."""

    async def divert(self) -> None:
        """Return when calls that are left alone from now on do not get lost."""
        ...

    def taken_over(self, takeover: Takeover, revision: int) -> None:
        """Calls are balanced like this from now on."""
        ...


@dataclass(slots=True)
class _Changes:
    """What is to be written.

    Args:
        put: ports as they are now.
        removed: the numbers of ports that the kernel is to leave alone.
        closed: those of endpoints whose connections are to be ended.
        called: where ports are called that have changed.
        leaves_any: some of that is left alone.
    """

    put: list[ConnectPort] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    called: dict[PortKey, Sequence[ServiceAddress]] = field(default_factory=dict)
    leaves_any: bool = False


class ConnectSync:
    """See the module. Constructed when the programs are loaded; `run` does the work."""

    def __init__(
        self,
        maps: ConnectMaps,
        context: Context,
        settings: BpfSettings,
        is_balanced: Callable[[ServicePort], bool],
        diverts: Diverts,
        *,
        first_id: int,
    ) -> None:
        """Write nothing yet.

        Args:
            maps: empty; closed by the caller, after `run`.
            context: the data plane: its snapshot, breakers and metrics.
            settings: of BPF.
            is_balanced: whether calls of a port are to be balanced when they connect; asked when
                the port has changed.
            diverts: asked before calls are left alone, and told when all is written.
            first_id: 1 to 2**32 - 1, another one for each agent: sockets of one before may be
                remembered by the kernel.
        """
        self._maps = maps
        self._context = context
        self._settings = settings
        self._is_balanced = is_balanced
        self._diverts = diverts
        self._takeover = Takeover()
        self._plan = ConnectPlan(first_id % MAX_ID + 1)
        self._counts = ConnectCounts(context, self._plan, maps)
        self._callers = ConnectCallers(
            maps.callers, lambda: context.decider.snapshot, self.look_again
        )
        self._snapshot = Snapshot()
        self._changed = trio.Event()
        self._trial_began = trio.Event()
        self._turned: set[PortKey] = set()
        # When ports have to be looked at though nothing has changed.
        self._due: dict[PortKey, float] = {}
        self._failed: dict[PortKey, str] = {}
        # Endpoints whose connections are to be ended.
        self._to_close: set[int] = set()
        self._closing = trio.Event()

    @property
    def ports(self) -> int:
        """How many Service ports the kernel balances."""
        return len(self._plan)

    @property
    def problem(self) -> str:
        """What keeps ports from being balanced in the kernel, "" when nothing does.

        Their calls are left alone and come to the agent.
        """
        if not self._failed:
            return self._callers.problem or self._callers.unfound
        reasons = ", ".join(sorted(set(self._failed.values())))
        return f"{len(self._failed)} Service ports are not in the kernel's maps: {reasons}"

    def want(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - as all who use snapshots
        """Go by the snapshot that the data plane goes by now."""
        self._changed.set()
        self._callers.want()

    def look_again(self) -> None:
        """Plan every port anew: what is balanced is decided otherwise than before."""
        self._turned |= self._context.decider.snapshot.ports.keys()
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write and follow until cancelled; started when calls are balanced by the snapshot.

        Cancellation: calls are left alone when it returns, and connections live on.
        """
        stop_telling = self._context.decider.traffic.on_turn(self._turn)
        try:
            await self._callers.follow()
            await self._follow()
            self._renew_lease()
            # As the first snapshot (app/follow.py): most of it lives as long as the agent.
            gc.collect()
            gc.freeze()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_following)
                nursery.start_soon(self._callers.run)
                nursery.start_soon(self._keep_lease)
                nursery.start_soon(self._read_counts)
                nursery.start_soon(self._hear_events)
                nursery.start_soon(self._close_connections)
                task_status.started()
        finally:
            stop_telling()
            self._maps.renew_lease(0)

    def _turn(self, port: ServicePort) -> None:
        """An endpoint may be chosen again, or no longer."""
        self._turned.add(port.key)
        self._changed.set()

    def _renew_lease(self) -> None:
        self._maps.renew_lease(self._settings.lease_seconds)

    async def _keep_lease(self) -> None:
        while True:
            await trio.sleep(min(_UPKEEP_SECONDS, self._settings.lease_seconds / 2))
            self._renew_lease()

    async def _keep_following(self) -> None:
        while True:
            with trio.move_on_after(self._wait_seconds()):
                await self._changed.wait()
            await self._follow()
            self._maps.expire(self._context.reactor.clock())

    def _wait_seconds(self) -> float:
        due = min(self._due.values(), default=_NEVER)
        wait = due - self._context.reactor.clock()
        return min(max(wait, _LEAST_WAIT_SECONDS), _UPKEEP_SECONDS)

    async def _read_counts(self) -> None:
        while True:
            await run_in_slices(self._counts.read())
            self._trial_began = trio.Event()
            seconds = _TRIAL_SECONDS if self._counts.has_trials else _UPKEEP_SECONDS
            with trio.move_on_after(seconds):
                await self._trial_began.wait()

    async def _hear_events(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._maps.fileno())
            for event in islice(self._maps.events(), _EVENTS):
                self._counts.hear(event)

    async def _close_connections(self) -> None:
        """End connections of endpoints that are gone, where their policies ask for it."""
        while True:
            await self._closing.wait()
            self._closing = trio.Event()
            numbers, self._to_close = self._to_close, set()
            try:
                ended = await trio.to_thread.run_sync(self._maps.destroy_connections, numbers)
            except OSError as error:
                _log.warning("connections of removed endpoints go on", problem=str(error))
            else:
                _log.info("connections of removed endpoints were closed", connections=ended)

    async def _follow(self) -> None:
        """Bring the maps up to what holds now."""
        self._changed = trio.Event()
        before, self._snapshot = self._snapshot, self._context.decider.snapshot
        now = self._context.reactor.clock()
        keys = touched_ports(before, self._snapshot) | self._turned
        keys |= {key for key, due in self._due.items() if due <= now}
        self._turned = set()
        changes = _Changes()
        await run_in_slices(self._plan_ports(keys, changes, now))
        turned = self._judge(keys)
        if changes.leaves_any:
            await self._diverts.divert()
        # Addresses that go from one port to another are never without: first what has them now.
        for start in range(0, len(changes.put), _BATCH):
            batch = changes.put[start : start + _BATCH]
            endpoints = sum(len(port.four) + len(port.six) for port in batch)
            await self._settle(batch, await _in_its_time(self._write, batch, endpoints))
        if changes.removed:
            removed = changes.removed
            await _in_its_time(self._maps.remove_many, removed, len(removed))
        await run_in_slices(self._note(changes.called))
        self._diverts.taken_over(self._takeover, self._snapshot.revision)
        for number, half_open in turned.items():
            self._maps.set_watched(number, half_open)
        if changes.closed:
            # Now nothing goes there any more.
            self._to_close.update(changes.closed)
            self._closing.set()

    def _plan_ports(
        self, keys: Collection[PortKey], changes: _Changes, now: float
    ) -> Iterator[None]:
        for key in keys:
            self._plan_port(key, changes, now)
            if not changes.leaves_any:
                called = changes.called[key]
                changes.leaves_any = not set(called).issubset(self._plan.addresses(key))
            yield

    def _note(self, called: Mapping[PortKey, Sequence[ServiceAddress]]) -> Iterator[None]:
        for key, addresses in called.items():
            self._takeover.note(key, addresses, self._plan.addresses(key))
            yield

    def _plan_port(self, key: PortKey, changes: _Changes, now: float) -> None:
        # The one that breakers go by now, which may be newer than what is followed.
        snapshot = self._context.decider.snapshot
        self._due.pop(key, None)
        port = snapshot.ports.get(key)
        addresses = changes.called[key] = addresses_of(port, snapshot) if port else ()
        if port is None or not addresses or self._callers.problem or not self._is_balanced(port):
            self._failed.pop(key, None)
            number = self._plan.remove(key)
            if number is not None:
                self._counts.forget_port(number)
                changes.removed.append(number)
            return
        spread = self._context.decider.traffic.spread(port, now)
        if spread.until != _NEVER:
            self._due[key] = spread.until
        before = dict(self._plan.members(key))
        put = self._plan.put(port, addresses, spread)
        if put is not None:
            changes.put.append(put)
        if port.policy.on_endpoint_removed is EndpointRemoval.CLOSE:
            removed = before.keys() - self._plan.members(key).keys()
            changes.closed.extend(before[place] for place in removed)

    def _write(self, ports: Sequence[ConnectPort]) -> dict[int, str]:
        """Put ports into the maps; the numbers of those that could not be, and why."""
        try:
            self._maps.put_many(ports)
        except OSError as error:
            if len(ports) == 1:
                return {ports[0].id: _NO_ROOM if error.errno == errno.E2BIG else str(error)}
            failures: dict[int, str] = {}
            for port in ports:
                failures |= self._write((port,))
            return failures
        return {}

    async def _settle(self, ports: Sequence[ConnectPort], failures: Mapping[int, str]) -> None:
        """Take note of what was written, and leave alone what could not be."""
        told = self.problem
        for port in ports:
            key = self._plan.port(port.id)
            assert key is not None
            self._failed.pop(key, None)
            if port.id in failures:
                self._failed[key] = failures[port.id]
                self._plan.remove(key)
                self._due[key] = self._context.reactor.clock() + _RETRY_SECONDS
                self._counts.forget_port(port.id)
        if failures:
            await self._diverts.divert()
            self._maps.remove_many(tuple(failures))
        if self.problem not in {"", told}:
            _log.error("calls come to the agent", problem=self.problem)

    def _judge(self, keys: Iterable[PortKey]) -> dict[int, bool]:
        """Take calls to endpoints for trials whose breakers are half-open now, and no others.

        Returns:
            The numbers of those that have changed, and whether they are half-open.
        """
        turned: dict[int, bool] = {}
        for key in keys:
            port = self._context.decider.snapshot.ports.get(key)
            members = self._plan.members(key)
            if port is None or not members:
                continue
            half_open = self._half_open(port) if port.policy.breaker else ()
            for place, number in members.items():
                if self._counts.is_on_trial(number) is (place in half_open):
                    continue
                turned[number] = place in half_open
                if turned[number]:
                    self._counts.begin_trials(number)
                    self._trial_began.set()
                else:
                    self._counts.end_trials(number)
        return turned

    def _half_open(self, port: ServicePort) -> set[Place]:
        upstream = self._context.decider.traffic.upstream(port)
        assert upstream is not None
        return {
            (state.endpoint.address, state.endpoint.port)
            for state in upstream.states()
            if state.breaker.phase is Phase.HALF_OPEN
        }


async def _in_its_time(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], rows: int
) -> Result:
    """Write a few rows here and many in a thread."""
    if rows <= _AT_ONCE:
        return work(items)
    return await trio.to_thread.run_sync(work, items)
