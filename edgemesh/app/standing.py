"""How the objects of an API server stand, from everybody here who has a say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edgemesh.app.follow import Follower
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.cloud.status_writer import Outcome
from edgemesh.meta.mirror import Mirror
from edgemesh.model.conditions import Condition
from edgemesh.model.objects import ObjectKey
from edgemesh.observe.log import get_logger
from edgemesh.policy.objects.conditions import refused
from edgemesh.store.errors import StoreError
from edgemesh.store.router import RouterStore
from edgemesh.store.store import Store

_log = get_logger("status")


class Router(Protocol):
    """Whose Rules they are."""

    @property
    def rulebook(self) -> Rulebook:
        """Which of them have an effect."""

    @property
    def tables(self) -> RouterStore:
        """What became of their calls."""


class Standing:
    """See `edgemesh.cloud.status_writer.Standings`.

    Args:
        store: where the objects are.
        mirror: what cannot be stored.
        follower: what is in force, and where.
        router: None where there is none.
    """

    def __init__(
        self, store: Store, mirror: Mirror, follower: Follower, router: Router | None
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._follower = follower
        self._router = router

    async def settled(self) -> None:
        """See `Standings.settled`."""
        await self._follower.reached(self._store.revision)

    def conditions(self, key: ObjectKey) -> tuple[Condition, ...]:
        """See `Standings.conditions`."""
        problem = self._mirror.refused.get(key)
        return refused(problem) if problem else self._follower.conditions(key)

    def rule_problem(self, key: ObjectKey) -> str:
        """See `Standings.rule_problem`."""
        problem = self._router.rulebook.problems.get(key) if self._router is not None else None
        return "" if problem is None else str(problem)

    async def outcomes(self) -> Mapping[str, Outcome]:
        """See `Standings.outcomes`."""
        if self._router is None:
            return {}
        try:
            return await self._router.tables.outcomes()
        except StoreError as error:
            # What was told of them before stays true; they are looked at again soon.
            _log.warning("outcomes of rules cannot be read", problem=error.problem)
            return {}
