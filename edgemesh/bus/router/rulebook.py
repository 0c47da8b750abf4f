"""The rules in force: followed in the store, kept in the router's tables, found by requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import trio

from edgemesh.model.objects import Change, ChangeType, ObjectKey
from edgemesh.model.router import RouterEndpoint, RouterRule
from edgemesh.observe.log import get_logger
from edgemesh.policy.router.rest import RestRules
from edgemesh.policy.router.rules import RouterProblem, router_endpoint, router_rule
from edgemesh.policy.traffic.quota import QuotaState
from edgemesh.store.rows import Scope
from edgemesh.store.store import Store
from edgemesh.store.watch import ChangeCursor
from edgemesh.wire.kubernetes import decode
from edgemesh.wire.kubernetes.fields import FieldError
from edgemesh.wire.kubernetes.router_objects import Rule, RuleEndpoint

Keep = Callable[[Iterable[RouterEndpoint], Iterable[RouterRule]], Awaitable[None]]

# A rule has one bucket for all of its calls.
_NO_KEYS = 1

_log = get_logger("router")


class Rulebook:
    """The rules of a store.

    Attributes:
        endpoints: RuleEndpoints by namespace and name.
        rules: those that have an effect, by namespace and name.
        rest: those that REST requests fall under.
        problems: why others have none.
    """

    def __init__(self, store: Store, page_bytes: int, keep: Keep | None = None) -> None:
        """Know no rule yet.

        Args:
            store: whose objects are followed.
            page_bytes: of objects that are read at once.
            keep: is told of everything after each change; None where nobody keeps tables.
        """
        self._endpoint_views: dict[ObjectKey, RuleEndpoint] = {}
        self._rule_views: dict[ObjectKey, Rule] = {}
        self._followed = (
            _Followed(ChangeCursor(store, Scope("RuleEndpoint"), page_bytes), self._endpoint_views),
            _Followed(ChangeCursor(store, Scope("Rule"), page_bytes), self._rule_views),
        )
        self._keep = keep
        self._told: dict[ObjectKey, RouterProblem] = {}
        self._quotas: dict[str, QuotaState] = {}
        self._users: list[Callable[[], None]] = []
        self.endpoints: Mapping[tuple[str, str], RouterEndpoint] = {}
        self.rules: Mapping[tuple[str, str], RouterRule] = {}
        self.rest = RestRules(())
        self.problems: Mapping[ObjectKey, RouterProblem] = {}

    def on_change(self, use: Callable[[], None]) -> None:
        """Call ``use`` after each change."""
        self._users.append(use)

    def wait_seconds(self, rule: RouterRule, now: float) -> float:
        """Take one token of a rule's quota; 0.0 when the call may pass, else when one might.

        Args:
            rule: of this book.
            now: monotonic seconds.
        """
        if rule.quota is None:
            return 0.0
        state = self._quotas.get(rule.id)
        if state is None:
            state = self._quotas[rule.id] = QuotaState(rule.quota, _NO_KEYS)
        state.change(rule.quota, now)
        return state.take("", now)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started once all rules that there are hold.

        Raises:
            StoreError: the store cannot be read or written.
        """
        begun = False
        while True:
            changed = not begun
            for followed in self._followed:
                changed = await _catch_up(followed) or changed
            if changed:
                await self._build()
            if not begun:
                begun = True
                task_status.started()
            await self._followed[0].cursor.wait()

    async def _build(self) -> None:
        endpoints = {
            (one.namespace, one.name): one
            for one in map(router_endpoint, self._endpoint_views.values())
        }
        rules: dict[tuple[str, str], RouterRule] = {}
        problems: dict[ObjectKey, RouterProblem] = {}
        for view in self._rule_views.values():
            found = router_rule(view, endpoints)
            name = (view.metadata.namespace, view.metadata.name)
            if isinstance(found, RouterRule):
                rules[name] = found
            else:
                problems[ObjectKey("Rule", *name)] = found
        self.endpoints, self.rules, self.problems = endpoints, rules, problems
        self.rest = RestRules(rules.values())
        in_force = {rule.id for rule in rules.values()}
        self._quotas = {key: state for key, state in self._quotas.items() if key in in_force}
        self._tell_problems()
        if self._keep is not None:
            await self._keep(endpoints.values(), rules.values())
        for use in self._users:
            use()

    def _tell_problems(self) -> None:
        for key, problem in self.problems.items():
            if self._told.get(key) != problem:
                _log.warning("rule has no effect", object=str(key), problem=str(problem))
        self._told = dict(self.problems)


class _Followed(NamedTuple):
    """A kind that is followed, and its objects."""

    cursor: ChangeCursor
    views: dict[ObjectKey, Any]


async def _catch_up(followed: _Followed) -> bool:
    """Take what became of one kind; whether anything did."""
    changed = False
    while True:
        batch = await followed.cursor.next()
        if batch.reset:
            followed.views.clear()
        for change in batch.changes:
            _take(change, followed.views)
            changed = True
        if batch.synced:
            return changed


def _take(change: Change, views: dict[ObjectKey, Any]) -> None:
    key = change.object.key
    views.pop(key, None)
    if change.type is ChangeType.DELETE:
        return
    try:
        views[key] = decode(change.object.body)
    except FieldError as error:
        # It was checked when it was applied, but perhaps by another version.
        _log.warning("object has no effect", object=str(key), problem=str(error))
