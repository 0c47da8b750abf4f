"""Whether the other end of a link is there: when to ask it, when to doubt, when to give it up."""

from __future__ import annotations

from enum import Enum, auto

# Parts of the silence that ends a link: how often it is looked at, and after how many looks an
# answer is missed.
_LOOKS = 10
_MISSED_LOOKS = 2
# The same for an end that has nothing to say, which is asked so many times before it is given up.
_IDLE_ASKS = 3


class Finding(Enum):
    """What is to be done about the other end."""

    NOTHING = auto()
    ASK = auto()
    DOUBT = auto()
    GIVE_UP = auto()


class Liveness:
    """What is known of the other end; time in seconds is passed in.

    Attributes:
        look_seconds: how often to call `look`.
        doubted: it has not answered for suspiciously long.
    """

    __slots__ = ("_asked_at", "_heard_at", "_silence", "_waits", "doubted", "look_seconds")

    def __init__(self, silence_seconds: float, now: float) -> None:
        """It is there now; without a word for ``silence_seconds`` it is not."""
        self._silence = silence_seconds
        self._heard_at = now
        self._asked_at = now
        self._waits = False
        self.look_seconds = silence_seconds / _LOOKS
        self.doubted = False

    def quiet(self, now: float) -> float:
        """For how long it has said nothing."""
        return now - self._heard_at

    def heard(self, now: float) -> bool:
        """It has said something; whether it was doubted before."""
        self._heard_at = now
        self._waits = False
        was_doubted, self.doubted = self.doubted, False
        return was_doubted

    def asked(self, now: float) -> None:
        """It was asked for an answer."""
        self._asked_at = now
        self._waits = True

    def look(self, now: float, *, busy: bool) -> Finding:
        """What to do now; a ``busy`` link is asked sooner than one without streams."""
        quiet = now - self._heard_at
        if quiet >= self._silence:
            return Finding.GIVE_UP
        if self._waits:
            late = now - self._asked_at >= _MISSED_LOOKS * self.look_seconds
            if late and not self.doubted:
                self.doubted = True
                return Finding.DOUBT
            return Finding.NOTHING
        patience = self.look_seconds if busy else self._silence / _IDLE_ASKS
        # Now and then a talkative one, too: an answer tells how long the way is.
        if quiet >= patience or now - self._asked_at >= self._silence:
            return Finding.ASK
        return Finding.NOTHING
