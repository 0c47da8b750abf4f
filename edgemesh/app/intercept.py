"""Keep the kernel's rules equal to what the snapshot says, for as long as the agent runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from edgemesh.kernel.netfilter import HeldConnection, open_interception
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import InboundAddress, Snapshot
from edgemesh.observe.log import get_logger
from edgemesh.policy.addresses import service_addresses

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgemesh.kernel.netfilter import Interception, Target
    from edgemesh.model.settings import Settings
    from edgemesh.proxy.context import OpenFlow

# How often the rules are looked at for what others did to them.
_INSPECTION_SECONDS = 10.0

_log = get_logger("intercept")


class Interceptor:
    """The rules' owner within the agent.

    Attributes:
        problem: what keeps the rules from being as they should, "" when nothing does.
        installed: whether the rules stand.
        revision: of the snapshot whose addresses are intercepted.
    """

    def __init__(self, settings: Settings, flows: Collection[OpenFlow]) -> None:
        """Prepare; `run` installs.

        Args:
            settings: complete.
            flows: TCP flows that are not over, as the data plane keeps them.
        """
        self._settings = settings
        self._flows = flows
        self._snapshot = Snapshot()
        self._standing: frozenset[Target] = frozenset()
        self._held: frozenset[HeldConnection] = frozenset()
        self._changed = trio.Event()
        self._interception: Interception | None = None
        self._turn = trio.Lock()
        self._released = False
        self.problem = ""
        self.installed = False
        self.revision = 0

    @property
    def addresses(self) -> int:
        """How many addresses of Services and node ports are intercepted."""
        return len(self._standing) - self.endpoints

    @property
    def endpoints(self) -> int:
        """How many endpoints of this node are intercepted, since their servers are limited."""
        return sum(isinstance(target, InboundAddress) for target in self._standing)

    def want(self, snapshot: Snapshot) -> None:
        """Intercept what ``snapshot`` serves, from as soon as the kernel has it."""
        self._snapshot = snapshot
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Install and follow; started once the first addresses stand.

        Raises:
            OperatorError: the rules cannot be installed at the start. Later failures are
                logged, shown by `problem` and tried again.

        Cancellation: the rules are gone, or closed, when it returns.
        """
        interception = await trio.to_thread.run_sync(
            lambda: open_interception(self._settings.netfilter, self._settings.proxy, owned=True)
        )
        try:
            await trio.to_thread.run_sync(interception.install)
            self._interception = interception
            self._standing = await trio.to_thread.run_sync(interception.addresses)
            await self._update(interception)
            self.installed = True
            task_status.started()
            while True:
                with trio.move_on_after(_INSPECTION_SECONDS) as pause:
                    await self._changed.wait()
                async with self._turn:
                    await self._reconcile(interception, inspect=pause.cancelled_caught)
        finally:
            self.installed = False
            self._interception = None
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await trio.to_thread.run_sync(interception.close)

    async def release(self) -> None:
        """Let new calls pass by, while those that have begun go on; in fail mode closed, nothing.

        Without this a call that begins while the agent drains would find rules but no listener.
        """
        if self._interception is None or self._settings.netfilter.fail == "closed":
            return
        self._released = True
        async with self._turn:
            await self._reconcile(self._interception, inspect=False)

    async def _reconcile(self, interception: Interception, *, inspect: bool) -> None:
        try:
            if inspect and not await trio.to_thread.run_sync(interception.installed):
                _log.warning("rules were changed by someone else and are put right")
                await trio.to_thread.run_sync(interception.install)
                self._standing = await trio.to_thread.run_sync(interception.addresses)
            await self._update(interception)
            if inspect:
                await self._hold(interception)
        except OperatorError as error:
            if self.problem != str(error):
                _log.error("rules cannot be updated", problem=str(error))
            self.problem = str(error)
        else:
            self.problem = ""

    async def _update(self, interception: Interception) -> None:
        self._changed = trio.Event()
        snapshot = self._in_force()
        # In the thread: with 10,000 Services this takes the time of a hundred messages.
        wanted = await trio.to_thread.run_sync(service_addresses, snapshot)
        added, removed = wanted - self._standing, self._standing - wanted
        held = self._beyond(snapshot) if removed else self._held
        if added or removed:
            await trio.to_thread.run_sync(interception.update, added, removed, held)
            self._standing, self._held = wanted, held
        if removed:
            # Those that were accepted meanwhile.
            await self._hold(interception)
        self.revision = snapshot.revision

    async def _hold(self, interception: Interception) -> None:
        held = self._beyond(self._in_force())
        if held != self._held:
            await trio.to_thread.run_sync(interception.update, (), (), held)
            self._held = held

    def _in_force(self) -> Snapshot:
        return Snapshot() if self._released else self._snapshot

    def _beyond(self, snapshot: Snapshot) -> frozenset[HeldConnection]:
        """The connections that nothing in the snapshot leads to the agent any more."""
        return frozenset(
            HeldConnection(flow.client_address, flow.destination)
            for flow in self._flows
            if flow.destination not in snapshot.tcp
            and flow.destination not in snapshot.tcp_inbound
            and flow.destination[1] not in snapshot.tcp_node_ports
        )
