"""Which mover suits a flow, judged by how its two sides behave.

Small messages back and forth are moved best from socket to socket, for each costs the agent a
wake-up. Much in one direction is moved best without being copied. A flow shows which it is: by
small messages in a row, or by many more bytes than there are small messages among them, such as
receipts and window updates.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edgemesh.model.flows import Mover

# What is said at a stretch and is shorter than this is a small message.
SMALL_BYTES = 16384
# Back and forth eight times: more than opening a conversation takes, as a TLS handshake does.
_TURNS = 16
# A flow that has not shown by then that it is one of small messages is not expected to.
_NOTED = 64
# More than any read brings: nothing is to be noted any more.
NOTHING = 1 << 60


@dataclass(slots=True)
class Behaviour:
    """What a flow has done since it has had its mover.

    A stretch is what one side says before the other does.

    Args:
        turns: small stretches in a row.
        bulk: bytes that have passed, each small stretch taken as `SMALL_BYTES` less.
        noted: how often something was noted.
    """

    turns: int = 0
    bulk: int = 0
    noted: int = 0
    _from_client: bool | None = None
    _stretch: int = 0
    _answered: int = 0

    def note(self, *, from_client: bool, count: int, answered: int) -> None:
        """Take in what has passed.

        Args:
            from_client: which way.
            count: bytes.
            answered: bytes that have passed the other way, from the begin of the flow.
        """
        self.noted += 1
        if from_client is not self._from_client:
            self._end_stretch(self._stretch)
            self._from_client = from_client
        elif answered != self._answered:
            # It was too little to be noted by itself.
            self._end_stretch(self._stretch)
            self._end_stretch(answered - self._answered)
        self._answered = answered
        self._stretch += count
        if self._stretch >= SMALL_BYTES:
            self.turns = 0
        self.bulk += count

    def _end_stretch(self, count: int) -> None:
        self._stretch = 0
        if 0 < count < SMALL_BYTES:
            self.turns += 1
            self.bulk = max(self.bulk - SMALL_BYTES, 0)


class Promotion:
    """The rule that tells which mover a flow is to have."""

    def __init__(self, bulk_bytes: int) -> None:
        """Take the settings.

        Args:
            bulk_bytes: so much of `Behaviour.bulk` makes a flow one to be spliced.
        """
        self._bulk_bytes = bulk_bytes

    def decide(self, behaviour: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        """The mover that is to have the flow from now on.

        Args:
            behaviour: since ``mover`` has the flow.
            mover: that has it.
            suitable: those that may have it; `Mover.RELAY` always may.
        """
        if behaviour.turns >= _TURNS:
            wanted = Mover.SOCKMAP if Mover.SOCKMAP in suitable else Mover.RELAY
        elif behaviour.bulk >= self._bulk_bytes:
            wanted = Mover.SPLICE
        else:
            return mover
        return wanted if wanted in suitable else mover

    def notice_from(
        self, behaviour: Behaviour | None, mover: Mover, suitable: AbstractSet[Mover]
    ) -> int:
        """From how many bytes on the next that passes is to be noted.

        Args:
            behaviour: what was noted since ``mover`` has the flow, None for nothing.
            mover: as above.
            suitable: as above.
        """
        if mover is not Mover.RELAY:
            return 0
        if Mover.SOCKMAP in suitable and (behaviour is None or behaviour.noted < _NOTED):
            return 0
        return SMALL_BYTES if Mover.SPLICE in suitable else NOTHING
