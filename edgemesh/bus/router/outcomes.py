"""What became of the calls of each rule, written to the store now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from edgemesh.model.router import RouterRule
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.router import RuleOutcome

_WRITE_SECONDS = 2.0
# Sentences of one rule that wait to be written; of more, the latest.
_MAX_WAITING = 20

_log = get_logger("router")


class RuleOutcomes:
    """Counts, and writes what was counted."""

    def __init__(self, write: Callable[[Mapping[str, RuleOutcome]], Awaitable[None]]) -> None:
        """Count from nothing; ``write`` adds to what is stored, by the rules' ids."""
        self._write = write
        self._counted: dict[str, RuleOutcome] = {}
        self._news = trio.Event()
        self._failing = False

    def succeeded(self, rule: RouterRule) -> None:
        """A call got where the rule leads, and was answered."""
        self._add(rule, 1, 0, ())

    def failed(self, rule: RouterRule, problem: str) -> None:
        """A call did not."""
        self._add(rule, 0, 1, (problem,))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; started at once.

        Cancellation: what was counted is written first, for at most two seconds.
        """
        task_status.started()
        try:
            while True:
                await self._news.wait()
                await trio.sleep(_WRITE_SECONDS)
                await self._flush()
        finally:
            with trio.move_on_after(_WRITE_SECONDS, shield=True):
                await self._flush()

    def _add(
        self, rule: RouterRule, successes: int, failures: int, errors: tuple[str, ...]
    ) -> None:
        known = self._counted.get(rule.id, RuleOutcome())
        self._counted[rule.id] = RuleOutcome(
            known.successes + successes,
            known.failures + failures,
            (*known.errors, *errors)[-_MAX_WAITING:],
        )
        self._news.set()

    async def _flush(self) -> None:
        counted, self._counted = self._counted, {}
        self._news = trio.Event()
        if not counted:
            return
        try:
            await self._write(counted)
        except StoreError as error:
            self._keep(counted)
            if not self._failing:
                _log.warning("counts of rules are not written yet", problem=str(error))
        else:
            counted = {}
        self._failing = bool(counted)

    def _keep(self, unwritten: Mapping[str, RuleOutcome]) -> None:
        for rule, (successes, failures, errors) in unwritten.items():
            newer = self._counted.get(rule, RuleOutcome())
            self._counted[rule] = RuleOutcome(
                successes + newer.successes,
                failures + newer.failures,
                (*errors, *newer.errors)[-_MAX_WAITING:],
            )
        self._news.set()
