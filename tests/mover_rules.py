"""What moves a flow's bytes, decided by a test instead of by how the flow behaves."""

from __future__ import annotations

import random
from collections.abc import Set as AbstractSet

import pytest

from edgemesh.model.flows import Mover
from edgemesh.policy.promotion import Behaviour
from edgemesh.proxy.context import PromotionRule


class Always:
    """Gives every flow to one mover as soon as something has passed."""

    def __init__(self, wanted: Mover) -> None:
        self._wanted = wanted

    def decide(self, _: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        """See `Promotion`."""
        return self._wanted if self._wanted in suitable else mover

    def notice_from(self, *_: object) -> int:
        """Everything is to be noted."""
        return 0


class AtRandom:
    """Gives flows to another mover now and then, in the midst of whatever they do.

    Attributes:
        switches: how often it has.
    """

    def __init__(self, seed: int, movers: AbstractSet[Mover]) -> None:
        self._chance = random.Random(seed)
        self._movers = movers
        self.switches = 0

    def decide(self, _: Behaviour, mover: Mover, suitable: AbstractSet[Mover]) -> Mover:
        """See `Promotion`."""
        others = sorted((self._movers & suitable) - {mover})
        if not others or self._chance.random() < 0.7:
            return mover
        self.switches += 1
        return self._chance.choice(others)

    def notice_from(self, *_: object) -> int:
        """Everything is to be noted."""
        return 0


_ALWAYS: dict[str, PromotionRule] = {
    "relay": Always(Mover.RELAY),
    "splice": Always(Mover.SPLICE),
}
_ALL: dict[str, PromotionRule] = {
    **_ALWAYS,
    "in turn": AtRandom(1, frozenset((Mover.RELAY, Mover.SPLICE))),
}
BY_EACH_MOVER = pytest.mark.parametrize("rule", _ALWAYS.values(), ids=_ALWAYS)
BY_ALL_MOVERS = pytest.mark.parametrize("rule", _ALL.values(), ids=_ALL)
