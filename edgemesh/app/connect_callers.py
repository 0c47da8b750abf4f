"""Keep what the kernel knows of callers equal to what the snapshot says: path ``connect``.

Rules know a Pod by its address. A program that is asked when a socket connects sees none yet, but
knows which network namespace the socket is in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from edgemesh.kernel.bpf.connect_callers import CallerList
from edgemesh.kernel.pod_namespaces import namespace_cookies
from edgemesh.meta.pod_index import pod_name
from edgemesh.model.services import EVERYBODY, Callers, Snapshot
from edgemesh.observe.log import get_logger

# Between looks for namespaces that were not found: a Pod may be known before it has one, but what
# runs in a virtual machine never gets one here.
_FIRST_PAUSE_SECONDS: Final = 1.0
_LAST_PAUSE_SECONDS: Final = 300.0

_log = get_logger("connect")


class ConnectCallers:
    """See the module.

    Attributes:
        problem: why nobody can be told from others, "" when that works. Then no calls may be
            balanced when they connect, for some of them are to be left alone.
        unfound: which Pods are treated like everybody else, "" when none are.
    """

    def __init__(
        self,
        listed: CallerList,
        snapshot: Callable[[], Snapshot],
        on_problem: Callable[[], None],
    ) -> None:
        """Write nothing yet.

        Args:
            listed: empty.
            snapshot: the one in force.
            on_problem: called when ``problem`` has changed.
        """
        self._listed = listed
        self._snapshot = snapshot
        self._on_problem = on_problem
        self._changed = trio.Event()
        self._callers: Callers = EVERYBODY
        # Addresses of Pods of this node whose namespaces were not found.
        self._missing: frozenset[str] = frozenset()
        self._pause = _FIRST_PAUSE_SECONDS
        self.problem = ""
        self.unfound = ""

    def want(self) -> None:
        """Look at the snapshot in force."""
        if self._snapshot().callers is not self._callers:
            self._changed.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            seconds = self._pause if self._missing or self.problem else float("inf")
            with trio.move_on_after(seconds) as pause:
                await self._changed.wait()
            self._pause = (
                min(2 * self._pause, _LAST_PAUSE_SECONDS)
                if pause.cancelled_caught
                else _FIRST_PAUSE_SECONDS
            )
            await self.follow()

    async def follow(self) -> None:
        """Bring what the kernel knows up to what holds now."""
        self._changed = trio.Event()
        snapshot = self._snapshot()
        callers = self._callers = snapshot.callers
        here = frozenset(address for address in callers.listed if _is_here(address, snapshot))
        try:
            cookies = await trio.to_thread.run_sync(namespace_cookies, here) if here else {}
            self._listed.set(cookies.values(), only_listed=callers.only_listed)
        except OSError as error:
            self._set_problem(f"Pods cannot be told from each other: {error}")
            return
        self._set_problem("")
        missing = here - cookies.keys()
        names = ", ".join(sorted({pod_name(snapshot.pods[address]) for address in missing}))
        self.unfound = f"the network namespaces of {names} are not found" if missing else ""
        if missing - self._missing:
            _log.warning("Pods are not told from others", problem=self.unfound)
        self._missing = missing

    def _set_problem(self, problem: str) -> None:
        if problem == self.problem:
            return
        if problem:
            _log.error("calls are not balanced when they connect", problem=problem)
        self.problem = problem
        self._on_problem()


def _is_here(address: str, snapshot: Snapshot) -> bool:
    """Whether a Pod's namespace is on this node, as far as is known."""
    return snapshot.pods[address].node in {"", snapshot.node}
