"""What goes wrong, drawn by lot from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from apiserver.answers import Answer, Request, failed, text


class Fault(StrEnum):
    """One way in which an answer goes wrong."""

    CUT = "the connection ends in the middle of a line"
    CLOSE = "a watch ends cleanly before its time"
    DRIP = "the answer comes slowly in small pieces"
    HALF_OPEN = "nothing comes any more, and the connection stays"
    BUSY = "429 with Retry-After"
    BROKEN = "500"
    EXPIRED = "the resourceVersion or the continue token is too old"


@dataclass(frozen=True, slots=True)
class Lot:
    """What was drawn for one request.

    Attributes:
        after_bytes: of the answer that still come before a cut or silence.
        seconds: after which a watch is closed.
    """

    fault: Fault
    after_bytes: int
    seconds: float


@dataclass(eq=False)
class Faults:
    """Draws for each request whether something goes wrong, and what.

    Attributes:
        seed: of the lots; with the same requests in the same order they are the same.
        chance: of a fault, between 0 and 1.
        kinds: those that are drawn from.
        longest: bytes, and seconds, before a fault strikes.
        drawn: what was drawn so far.
    """

    seed: int
    chance: float = 0.2
    kinds: Sequence[Fault] = tuple(Fault)
    longest_bytes: int = 4000
    longest_seconds: float = 20.0
    drawn: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def draw(self, request: Request) -> Lot | None:
        """What happens to the answer of this request; None is nothing."""
        if self._random.random() >= self.chance:
            return None
        kinds = [kind for kind in self.kinds if _possible(kind, request)]
        if not kinds:
            return None
        lot = Lot(
            self._random.choice(kinds),
            self._random.randint(0, self.longest_bytes),
            self._random.uniform(0.0, self.longest_seconds),
        )
        self.drawn.append(lot.fault)
        return lot


def _possible(fault: Fault, request: Request) -> bool:
    if fault is Fault.CLOSE:
        return request.watches
    if fault is Fault.EXPIRED:
        query = request.query
        begins = query.get("resourceVersion", "0") != "0" and "sendInitialEvents" not in query
        return (request.watches and begins) or "continue" in query
    return True


def refusal(lot: Lot) -> Answer | None:
    """The answer that a lot gives instead of the asked one."""
    if lot.fault is Fault.BUSY:
        # What priority and fairness answers (k8s.io/apiserver/pkg/server/filters).
        words = "Too many requests, please try again later.\n"
        return text(429, words, ("Retry-After", "1"))
    if lot.fault is Fault.BROKEN:
        words = "Internal error occurred: etcdserver: request timed out"
        cause = {"message": "etcdserver: request timed out"}
        return failed(500, words, "InternalError", {"causes": [cause]}).answer
    return None
