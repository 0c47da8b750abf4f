"""What the agent tells all programs of the connect path at once, in one value of a map."""

from __future__ import annotations

import threading
import time
from typing import Final

from edgemesh.kernel.bpf import connect_layout as layout
from edgemesh.kernel.bpf.connect_layout import Callers
from edgemesh.kernel.bpf.maps import Map

_KEY: Final = bytes(4)


class AgentWord:
    """The value of ``agent``. Threads may use it at the same time.

    Args:
        agent: the map, which stays the caller's.
    """

    def __init__(self, agent: Map) -> None:
        self._map = agent
        self._until = 0
        # States that are new say 0, and have been listed in no round.
        self._round = 1
        self._flagged = False
        self._callers = Callers.ALL
        self._lock = threading.Lock()

    def trust_maps(self, seconds: float) -> None:
        """Let calls be balanced for so long from now."""
        with self._lock:
            self._until = time.monotonic_ns() + round(seconds * layout.NANOSECONDS)
            self._tell()

    def begin_round(self) -> None:
        """Have programs list anew what they count for from now on."""
        with self._lock:
            self._round += 1
            self._tell()

    def flag_endpoints(self, flagged: bool) -> None:
        """Say whether any endpoint has flags: programs look for them only then."""
        with self._lock:
            if self._flagged != flagged:
                self._flagged = flagged
                self._tell()

    def balance_for(self, callers: Callers) -> None:
        """Say whose calls are balanced."""
        with self._lock:
            if self._callers != callers:
                self._callers = callers
                self._tell()

    def _tell(self) -> None:
        self._map.update(
            _KEY, layout.AGENT.pack(self._until, self._round, self._flagged, self._callers)
        )
