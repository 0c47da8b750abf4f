"""How to reach another node: by a link of its own, or by the hub.

A link is preferred, and believed in until it is known to fail: who calls first waits for it. When
it fails, or only says nothing for suspiciously long, new streams go by the hub, and the node is
tried again after pauses that double. A link that comes back is trusted at once the first time;
one that came and went within a short time only after it has lasted for a while, so that streams
do not go to and fro with a connection that is up every other moment.
"""

from __future__ import annotations

from enum import Enum, auto

from edgemesh.model.peers import Way

# In periods of probing: a link that lasted so long was sound, whatever was before.
_SOUND = 4
# The first time that a link is to last before it is trusted, and the longest.
_FIRST_TRIAL = 0.25
_LONGEST_TRIAL = 4


class _Direct(Enum):
    UNTRIED = auto()
    UP = auto()
    DOUBTED = auto()
    FAILED = auto()


class PeerRoute:
    """What is known of the ways to one node; time in seconds is passed in.

    Attributes:
        way: how new streams go, as of the last `choose`.
        since: when that began.
        problem: why there is no link, or why it is not used; "" when there is no such thing.
    """

    __slots__ = (
        "_asked_at",
        "_dialled_at",
        "_direct",
        "_first_retry",
        "_next_dial",
        "_pause",
        "_period",
        "_trial",
        "_trusted_from",
        "_up_since",
        "problem",
        "since",
        "way",
    )

    def __init__(self, first_retry_seconds: float, probe_seconds: float, now: float) -> None:
        """Nobody has tried to reach the node.

        Args:
            first_retry_seconds: the pause after a link has failed for the first time.
            probe_seconds: the longest pause.
            now: the time.
        """
        self._first_retry = min(first_retry_seconds, probe_seconds)
        self._period = probe_seconds
        self._direct = _Direct.UNTRIED
        self._pause = self._first_retry
        self._dialled_at = now - self._first_retry
        self._next_dial = now
        self._asked_at: float | None = None
        self._up_since = now
        self._trial = 0.0
        self._trusted_from = now
        self.way = Way.NONE
        self.since = now
        self.problem = ""

    def asked(self, now: float) -> None:
        """Somebody wants a stream there."""
        self._asked_at = now

    def is_wanted(self, now: float, within_seconds: float) -> bool:
        """Whether somebody did lately."""
        return self._asked_at is not None and now - self._asked_at <= within_seconds

    def dialled(self, now: float) -> None:
        """It is tried to reach the node directly."""
        self._dialled_at = now

    def came_up(self, now: float) -> None:
        """There is a link."""
        self._direct = _Direct.UP
        self._up_since = now
        self._trusted_from = now + self._trial
        self._pause = self._first_retry
        self.problem = ""

    def doubted(self, problem: str) -> None:
        """The link, or who is dialled for one, has said nothing for suspiciously long."""
        self._direct = _Direct.DOUBTED
        self.problem = problem

    def believed(self) -> None:
        """The link that was doubted has said something."""
        self._direct = _Direct.UP
        self.problem = ""

    def left(self, now: float) -> None:
        """The link was closed in order; there is nothing wrong with the node."""
        self._direct = _Direct.UNTRIED
        self._next_dial = now
        self.problem = ""

    def lost(self, now: float, problem: str) -> None:
        """The link has failed."""
        if now - self._up_since >= _SOUND * self._period:
            self._trial = 0.0
        else:
            self._trial = min(
                max(2 * self._trial, _FIRST_TRIAL * self._period), _LONGEST_TRIAL * self._period
            )
        self.failed(now, problem)

    def failed(self, now: float, problem: str) -> None:
        """The node could not be reached directly."""
        self._direct = _Direct.FAILED
        self.problem = problem
        self._next_dial = now + self._pause
        self._pause = min(2 * self._pause, self._period)

    def is_dial_due(self, now: float, *, hub: bool) -> bool:
        """Whether it should be tried again, if somebody wants it; sooner where there is no hub."""
        return now >= self._next_dial if hub else not self.wait_to_dial(now)

    def wait_to_dial(self, now: float) -> float:
        """Seconds until it should be tried again where there is no hub, and somebody waits."""
        return max(min(self._next_dial, self._dialled_at + self._first_retry) - now, 0.0)

    def choose(self, now: float, *, hub: bool) -> Way:
        """How new streams go there.

        Args:
            now: the time.
            hub: whether there is one, and it can be reached.
        """
        way = self._choose(now, hub=hub)
        if way is not self.way:
            self.way = way
            self.since = now
        return way

    def _choose(self, now: float, *, hub: bool) -> Way:
        direct = self._direct
        if direct is _Direct.UNTRIED or (direct is _Direct.UP and now >= self._trusted_from):
            return Way.LINK
        if hub:
            return Way.HUB
        return Way.NONE if direct is _Direct.FAILED else Way.LINK
