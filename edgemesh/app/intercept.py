"""Keep the kernel's rules equal to what the snapshot says, for as long as the agent runs.

They stand from the agent's start to its end, or only while they are needed
(``netfilter.install``). Then whoever balances calls in another way says before a port of his goes
without it, and waits for the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from edgemesh.kernel.diverted import is_any_diverted
from edgemesh.kernel.netfilter import HeldConnection, open_interception
from edgemesh.model.errors import OperatorError
from edgemesh.model.services import InboundAddress, Snapshot
from edgemesh.model.status import DiversionNeed
from edgemesh.observe.log import get_logger
from edgemesh.policy.addresses import service_addresses
from edgemesh.policy.diversion import Linger, diversion_need

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgemesh.kernel.netfilter import Interception, Target
    from edgemesh.model.settings import Settings
    from edgemesh.policy.connect.takeover import Takeover
    from edgemesh.proxy.context import OpenFlow
    from edgemesh.proxy.forward.session import Sessions

# How often the rules are looked at for what others did to them.
_INSPECTION_SECONDS = 10.0
# The same while nothing needs them, and they are to go.
_LINGERING_SECONDS = 1.0

_log = get_logger("intercept")


class Interceptor:
    """The rules' owner within the agent.

    Attributes:
        problem: what keeps the rules from being as they should, "" when nothing does.
        installed: whether the rules stand.
        revision: of the snapshot whose addresses are intercepted, or need not be.
        need: what has to be diverted.
    """

    def __init__(self, settings: Settings, flows: Collection[OpenFlow], sessions: Sessions) -> None:
        """Prepare; `run` installs.

        Args:
            settings: complete.
            flows: TCP flows that are not over, as the data plane keeps them.
            sessions: UDP sessions that are not over.

        Raises:
            OperatorError: two settings contradict each other.
        """
        netfilter = settings.netfilter
        if netfilter.install == "needed" and netfilter.fail == "closed":
            raise OperatorError(
                "netfilter.fail = closed promises rules that outlive the agent",
                "with it, set netfilter.install to always",
            )
        self._settings = settings
        self._flows = flows
        self._sessions = sessions
        self._snapshot = Snapshot()
        self._standing: frozenset[Target] = frozenset()
        self._held: frozenset[HeldConnection] = frozenset()
        # Whose calls the rules treat otherwise than those of others; None when that is not known.
        self._callers: frozenset[str] | None = None
        self._changed = trio.Event()
        self._interception: Interception | None = None
        self._turn = trio.Lock()
        self._released = False
        self._takeover: Takeover | None = None
        # Of the snapshot that the takeover was told of.
        self._taken_revision = 0
        self._is_known = trio.Event()
        self._is_awaited = False
        self._has_begun = False
        self._linger = Linger(netfilter.linger_seconds)
        self.problem = ""
        self.installed = False
        self.revision = 0
        self.need = DiversionNeed()

    @property
    def addresses(self) -> int:
        """How many addresses of Services and node ports are intercepted."""
        return len(self._standing) - self.endpoints

    @property
    def endpoints(self) -> int:
        """How many endpoints of this node are intercepted, since their servers are limited."""
        return sum(isinstance(target, InboundAddress) for target in self._standing)

    @property
    def needed(self) -> bool:
        """Whether the rules have to stand; True also while that is not known."""
        if self._settings.netfilter.install == "always":
            return True
        return self._is_awaited or not self._has_begun or bool(self.need)

    def want(self, snapshot: Snapshot) -> None:
        """Intercept what ``snapshot`` serves, from as soon as the kernel has it."""
        self._snapshot = snapshot
        self._look_anew()

    def taken_over(self, takeover: Takeover | None, revision: int = 0) -> None:
        """The kernel balances calls like this from now on.

        Args:
            takeover: which; None for none.
            revision: of the snapshot that it was told of.
        """
        self._takeover = takeover
        self._taken_revision = revision
        self._is_awaited = False
        self._is_known.set()
        self._look_anew()

    async def divert(self) -> None:
        """Return when the rules stand: the kernel will balance less in a moment.

        They stay at least until the next `taken_over`. When they cannot be installed this
        returns all the same, for what is changed is not up to date either; `problem` tells.
        """
        self._is_awaited = True
        self._is_known.set()
        if self._interception is None or self.installed or self._released:
            return
        async with self._turn:
            await self._reconcile(self._interception, inspect=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Install and follow; started once all addresses are intercepted or need not be.

        Raises:
            OperatorError: the rules cannot be installed at the start. Later failures are
                logged, shown by `problem` and tried again.

        Cancellation: the rules are gone, or closed, when it returns.
        """
        interception = await trio.to_thread.run_sync(
            lambda: open_interception(self._settings.netfilter, self._settings.proxy, owned=True)
        )
        try:
            await self._begin(interception)
            task_status.started()
            while True:
                with trio.move_on_after(self._pause_seconds) as pause:
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

    @property
    def _is_in_use(self) -> bool:
        """Whether something needs the rules, or was diverted and is not over."""
        return self.needed or bool(self._flows) or bool(self._sessions)

    @property
    def _pause_seconds(self) -> float:
        lingers = self.installed and not self._is_in_use
        return _LINGERING_SECONDS if lingers else _INSPECTION_SECONDS

    @property
    def _known_revision(self) -> int:
        """Of the snapshot that needs no rules."""
        return self._snapshot.revision if self._takeover is None else self._taken_revision

    def _look_anew(self) -> None:
        if self._settings.netfilter.install == "needed":
            family = self._settings.netfilter.family
            self.need = diversion_need(self._snapshot, self._takeover, family)
        self._changed.set()

    async def _begin(self, interception: Interception) -> None:
        """Install what is needed, or take away what a killed agent and its guard have left."""
        if self._settings.netfilter.install == "needed":
            # To install what goes again in a moment would not come free: where there ever was a
            # rule of policy routing, all look-ups of routes are slower for good
            # (fib4_rule_configure() and fib4_rule_delete(), Linux 6.18).
            with trio.move_on_after(self._settings.netfilter.decision_seconds):
                await self._is_known.wait()
        self._interception = interception
        async with self._turn:
            self._has_begun = True
            if self.needed:
                await self._install(interception)
            else:
                await trio.to_thread.run_sync(interception.remove)
                self.revision = self._known_revision

    async def _install(self, interception: Interception) -> None:
        await trio.to_thread.run_sync(interception.install)
        self._standing = await trio.to_thread.run_sync(interception.addresses)
        self._callers = None
        await self._update(interception)
        self.installed = True

    async def _reconcile(self, interception: Interception, *, inspect: bool) -> None:
        # First of all: what fails is not tried again before the next inspection.
        self._changed = trio.Event()
        try:
            if self.installed:
                await self._keep(interception, inspect=inspect)
            elif self.needed and not self._released:
                await self._install(interception)
                _log.info("rules are installed, for they are needed", **self._reasons())
            else:
                self.revision = self._known_revision
        except OperatorError as error:
            if self.problem != str(error):
                _log.error("rules cannot be updated", problem=str(error))
            self.problem = str(error)
        else:
            self.problem = ""

    async def _keep(self, interception: Interception, *, inspect: bool) -> None:
        """Keep the rules as they should be, or remove them."""
        if inspect and not await trio.to_thread.run_sync(interception.installed):
            _log.warning("rules were changed by someone else and are put right")
            await trio.to_thread.run_sync(interception.install)
            self._standing = await trio.to_thread.run_sync(interception.addresses)
        await self._update(interception)
        if inspect:
            await self._hold(interception)
        if not self._linger.is_over(in_use=self._is_in_use, now=trio.current_time()):
            return
        # What a client has not taken yet outlives its flow.
        port = self._settings.proxy.tcp_port
        is_closing = await trio.to_thread.run_sync(is_any_diverted, self._standing, port)
        if not is_closing and not self._is_in_use:
            await self._remove(interception)

    async def _remove(self, interception: Interception) -> None:
        # From here on `divert` waits for its turn, and installs anew.
        self.installed = False
        try:
            await trio.to_thread.run_sync(interception.remove)
        except OperatorError:
            self.installed = True
            raise
        self._standing, self._held, self._callers = frozenset(), frozenset(), None
        _log.info("rules are removed, for nothing needs them", balanced=self.need.balanced)

    def _reasons(self) -> dict[str, int]:
        need = self.need
        return {
            "service_ports": need.service_ports,
            "node_ports": need.node_ports,
            "limited_endpoints": need.endpoints,
        }

    async def _update(self, interception: Interception) -> None:
        self._changed = trio.Event()
        snapshot = self._in_force()
        # In the thread: with 10,000 Services this takes the time of a hundred messages.
        wanted = await trio.to_thread.run_sync(service_addresses, snapshot)
        added, removed = wanted - self._standing, self._standing - wanted
        held = self._beyond(snapshot) if removed else self._held
        callers = snapshot.callers.listed
        if added or removed or callers != self._callers:
            await trio.to_thread.run_sync(interception.update, added, removed, held, callers)
            self._standing, self._held, self._callers = wanted, held, callers
        if removed:
            # Those that were accepted meanwhile.
            await self._hold(interception)
        self.revision = snapshot.revision

    async def _hold(self, interception: Interception) -> None:
        snapshot = self._in_force()
        held, callers = self._beyond(snapshot), snapshot.callers.listed
        if held != self._held:
            await trio.to_thread.run_sync(interception.update, (), (), held, callers)
            self._held, self._callers = held, callers

    def _in_force(self) -> Snapshot:
        return Snapshot() if self._released else self._snapshot

    def _beyond(self, snapshot: Snapshot) -> frozenset[HeldConnection]:
        """The connections that nothing in the snapshot leads to the agent any more."""
        return frozenset(
            HeldConnection(flow.client_address, flow.destination)
            for flow in self._flows
            # What came by a stream was never diverted.
            if flow.stream is None
            and flow.destination not in snapshot.tcp
            and flow.destination not in snapshot.tcp_inbound
            and flow.destination[1] not in snapshot.tcp_node_ports
        )
