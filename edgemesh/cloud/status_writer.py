"""How objects stand, and what became of Rules, told to the API server: only what has changed.

Theory of operation: whenever something may have changed, each object's status as it should be is
compared with its status as the server last told of it. What differs is patched on condition that
the object is still the same version; where it is not, it is read again and looked at anew. So
nothing has to be remembered, and a replica that takes over writes what its predecessor had not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

import trio

from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.cloud.controller import Controller
from edgemesh.cloud.objects import ApiRefusedError, patch, path_of, read
from edgemesh.cloud.subjects import Subjects
from edgemesh.model.conditions import Condition
from edgemesh.model.kinds import find_kind
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.objects import ObjectKey
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.reconnect import Reconnect
from edgemesh.policy.objects.written_status import Observed, observe, rule_patch, status_patch

_log = get_logger("status")

# What an operator has to hear of; that an object is not in force follows from it.
_TELLING = frozenset({"Accepted", "ResolvedRefs"})
# Not allowed; about to be told that it is gone, or without a status; against its schema.
_HOPELESS = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY})


class Outcome(Protocol):
    """What became of a Rule's Messages and calls."""

    @property
    def successes(self) -> int:
        """How many got where the Rule leads."""

    @property
    def failures(self) -> int:
        """How many did not."""

    @property
    def errors(self) -> tuple[str, ...]:
        """Sentences about failures, the latest last."""


class Standings(Protocol):
    """Who knows how objects stand."""

    async def settled(self) -> None:
        """Wait until what is stored by now counts, but not for long."""

    def conditions(self, key: ObjectKey) -> tuple[Condition, ...]:
        """Of an object; none when it is not known."""

    def rule_problem(self, key: ObjectKey) -> str:
        """Why a Rule has no effect, "" when it has."""

    async def outcomes(self) -> Mapping[str, Outcome]:
        """Of Rules, by uid."""


class StatusWriter:
    """See the module.

    Args:
        access: to the server.
        subjects: the objects.
        standings: how they stand.
        controller: knows what is served, and whether all of it has come.
        settings: times and limits.
        warn: is told of objects that are not accepted: the object, a reason, a sentence.
        chance: from 0 to 1, by lot.

    Attributes:
        written: how many were patched.
        problem: why the last could not be, "" when it could.
    """

    def __init__(
        self,
        access: Access,
        subjects: Subjects,
        standings: Standings,
        controller: Controller,
        settings: KubernetesSettings,
        *,
        warn: Callable[[Observed, str, str], None],
        chance: Callable[[], float],
    ) -> None:
        self._access = access
        self._subjects = subjects
        self._standings = standings
        self._controller = controller
        self._settings = settings
        self._warn = warn
        self._chance = chance
        self._news = trio.Event()
        # Versions that the server will not have patched, whatever the reason.
        self._hopeless: dict[ObjectKey, str] = {}
        self.written = 0
        self.problem = ""

    def look_again(self) -> None:
        """Something may stand otherwise than before."""
        self._news.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; started at once."""
        task_status.started()
        settings = self._settings
        failures = Reconnect(settings.first_retry_seconds, settings.max_retry_seconds)
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await trio.sleep(settings.status_seconds)
            if not self._controller.listed:
                # What seems to be missing may be about to come.
                self._news.set()
                continue
            try:
                await self._standings.settled()
                await self._look()
            except (ApiRefusedError, UnreachableError) as error:
                if not self.problem:
                    _log.warning("status is not written", problem=str(error))
                self.problem = str(error)
                self._news.set()
                asked = error.pause if isinstance(error, ApiRefusedError) else 0.0
                asked = min(asked, settings.max_retry_after_seconds)
                await trio.sleep(max(asked, failures.pause(0, self._chance())))
            else:
                failures = Reconnect(settings.first_retry_seconds, settings.max_retry_seconds)

    async def _look(self) -> None:
        """Compare all, and write a number of them."""
        outcomes = await self._standings.outcomes()
        present = self._subjects.objects
        self._hopeless = {key: each for key, each in self._hopeless.items() if key in present}
        left = self._settings.status_batch
        for observed in list(present.values()):
            await trio.lowlevel.checkpoint()
            if self._hopeless.get(observed.key) == observed.revision:
                continue
            change = self._change(observed, outcomes)
            if change is None:
                continue
            if not left:
                self._news.set()
                return
            left -= 1
            await self._write(observed, change)
        self.problem = ""

    def _change(self, observed: Observed, outcomes: Mapping[str, Outcome]) -> dict[str, Any] | None:
        if observed.key.kind == "Rule":
            if problem := self._standings.rule_problem(observed.key):
                self._warn(observed, "NoEffect", problem)
            outcome = outcomes.get(observed.uid)
            if outcome is None:
                return None
            return rule_patch(observed, outcome.successes, outcome.failures, outcome.errors)
        conditions = self._standings.conditions(observed.key)
        if not conditions:
            return None
        for condition in conditions:
            if condition.type in _TELLING and not condition.status:
                self._warn(observed, condition.reason, condition.message or condition.type)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return status_patch(observed, conditions, now)

    async def _write(self, observed: Observed, change: dict[str, Any]) -> None:
        kind, served = find_kind(observed.key.kind), self._controller.where(observed.key.kind)
        if kind is None or served is None:
            return
        path = path_of(served.path, kind, observed.key)
        # KubeEdge's Rules have no path of their own for their status.
        where = f"{path}/status" if served.status else path
        refused = await self._patched(observed, where, change)
        if refused is None:
            self.written += 1
        elif refused.code == HTTPStatus.CONFLICT:
            await self._read_again(observed, path)
        elif refused.code in _HOPELESS:
            self._hopeless[observed.key] = observed.revision
            _log.warning("status is refused", object=str(observed.key), problem=str(refused))
        else:
            raise refused

    async def _patched(
        self, observed: Observed, where: str, change: dict[str, Any]
    ) -> ApiRefusedError | None:
        """Patch; why it was not done, None when it was."""
        try:
            body = await patch(self._access, where, change)
        except ApiRefusedError as refused:
            return refused
        self._take(observed, body)
        return None

    async def _read_again(self, observed: Observed, path: str) -> None:
        """Learn what another has made of an object meanwhile."""
        try:
            body = await read(self._access, path)
        except ApiRefusedError as refused:
            if refused.code != HTTPStatus.NOT_FOUND:
                raise
            # It is about to be told that it is gone.
            return
        self._take(observed, body)
        self._news.set()

    def _take(self, observed: Observed, body: Any) -> None:
        """Take what the server says that an object is, unless it has told more meanwhile."""
        if self._subjects.objects.get(observed.key) is observed:
            self._subjects.objects[observed.key] = observe(observed.key, body)
