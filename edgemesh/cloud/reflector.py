"""Keeps a sink equal to what an API server, or KubeEdge's MetaServer, has of one resource.

List, then watch from where the list ended, and again from where the watch ended; a new list
whenever the server, or the sort of server, leaves a doubt. What to do next is decided by
``policy.reflector.course``, what is news by ``policy.reflector.known``; here it is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import trio

from edgemesh.cloud.access import Access, Stream, UnreachableError
from edgemesh.cloud.intake import Intake
from edgemesh.cloud.lines import LineReader
from edgemesh.cloud.sink import Sink
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.model.reflection import Phase, ReflectorState, Resource
from edgemesh.observe.log import get_logger
from edgemesh.policy.reflector.course import Course, Ending, Outcome, Server, Step, Way
from edgemesh.policy.reflector.refusals import ending_of
from edgemesh.wire.kubernetes_api.lists import read_list
from edgemesh.wire.kubernetes_api.objects import ApiContentError
from edgemesh.wire.kubernetes_api.status import read_status, retry_after

_OK = 200
_MOST_REFUSAL_BYTES = 65536
_UNKNOWN = "MetaServer does not know: its cloud is away, or the cluster has no such resource"
_PHASES = {
    Ending.UNKNOWN: Phase.UNKNOWN,
    Ending.MISSING: Phase.MISSING,
    Ending.FAILED: Phase.FAILING,
    Ending.EXPIRED: Phase.LISTING,
    Ending.UNOFFERED: Phase.LISTING,
}
_RESTARTS = {Ending.FAILED, Ending.EXPIRED, Ending.SILENT}

_log = get_logger("reflector")


class Reflector:
    """Follows one resource.

    Args:
        access: to the server; shared by all reflectors.
        resource: what to follow.
        sink: keeps what there is.
        settings: times and limits.
        chance: from 0 to 1, by lot: spreads the pauses of many nodes.
    """

    def __init__(
        self,
        access: Access,
        resource: Resource,
        sink: Sink,
        *,
        settings: KubernetesSettings,
        chance: Callable[[], float],
    ) -> None:
        self._access = access
        self._resource = resource
        self._sink = sink
        self._settings = settings
        self._chance = chance
        self._course = Course(settings)
        self._intake = Intake(resource, sink, settings, self._note_list)
        self._answered: Callable[[], None] | None = None
        self._phase = Phase.LISTING
        self._since = trio.current_time()
        self._revision = ""
        self._lists = self._restarts = 0
        self._problem = ""

    @property
    def state(self) -> ReflectorState:
        """How far it has come."""
        return ReflectorState(
            resource=self._resource,
            phase=self._phase,
            revision=self._revision,
            objects=len(self._intake.known),
            lists=self._lists,
            changes=self._intake.changes,
            restarts=self._restarts,
            problem=self._problem,
            since=self._since,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until cancelled.

        ``task_status.started()`` is called once the server has answered: the first list is in the
        sink, or the resource is missing, or MetaServer does not know. A server that cannot be
        reached is tried for ever, so whoever must start without one uses ``start_soon``.

        Raises:
            whatever the sink raises.
        """
        self._answered = task_status.started
        step = self._course.begin(self._access.server, self._chance())
        while True:
            await trio.sleep(step.pause)
            if step.way is Way.LIST:
                outcome = await self._list(step)
            else:
                step, outcome = await self._watch(step)
            await self._note(step, outcome)
            step = self._course.after(step, outcome, self._access.server, self._chance())

    async def _list(self, step: Step) -> Outcome:
        self._intake.begin_list()
        query = self._selectors()
        if step.paged:
            query["limit"] = str(self._settings.page_objects)
        revision = ""
        try:
            while True:
                answer = await self._access.request("GET", self._resource.path, query=query)
                if answer.status != _OK:
                    return _refused(step, answer.status, answer.headers, answer.body)
                page = read_list(answer.body)
                if page.local and self._access.server is not Server.API_SERVER:
                    # Rows that EdgeCore happens to keep are no list: none is taken, none goes.
                    return Outcome(Ending.UNKNOWN, problem=_UNKNOWN)
                # Should pages differ in what they show, watching from the first misses nothing.
                revision = revision or page.revision
                await self._intake.show(page.items)
                if not page.following:
                    break
                query["continue"] = page.following
        except (UnreachableError, ApiContentError) as error:
            return Outcome(Ending.FAILED, problem=str(error))
        await self._intake.finish_list(revision)
        return Outcome(Ending.LISTED, revision=revision)

    async def _watch(self, step: Step) -> tuple[Step, Outcome]:
        query = self._selectors() | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(math.ceil(step.seconds)),
        }
        if step.way is Way.STREAM:
            self._intake.begin_list()
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        else:
            query["resourceVersion"] = step.revision
        try:
            async with self._access.stream(
                self._resource.path, query, self._settings.silence_seconds
            ) as stream:
                if stream.status == _OK:
                    return await self._follow(step, stream)
                body = await stream.read(_MOST_REFUSAL_BYTES)
                return step, _refused(step, stream.status, stream.headers, body)
        except UnreachableError as error:
            return step, Outcome(Ending.FAILED, problem=str(error))

    async def _follow(self, step: Step, stream: Stream) -> tuple[Step, Outcome]:
        began, taken_before = trio.current_time(), self._intake.events
        settings = self._settings
        if step.way is Way.WATCH:
            self._enter(Phase.FOLLOWING)
        reader = LineReader(
            stream,
            settings.batch_objects,
            settings.max_line_bytes,
            # It is the server that ends a watch, if it is there.
            step.seconds + settings.dial_seconds,
        )
        outcome = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            while outcome is None:
                # A list, streamed or not, has its time; a watch has all the time of the world.
                is_list = step.way is Way.STREAM
                deadline = began + settings.request_seconds if is_list else math.inf
                if not (lines := await reader.batch(deadline)):
                    outcome = Outcome(reader.ending, problem=reader.problem)
                    break
                step, outcome = await self._intake.take(step, lines, self._access.server)
                self._revision = step.revision or self._revision
            nursery.cancel_scope.cancel()
        assert outcome is not None
        events = self._intake.events - taken_before
        return step, replace(outcome, events=events, lasted=trio.current_time() - began)

    def _selectors(self) -> dict[str, str]:
        resource = self._resource
        selectors = {
            "fieldSelector": resource.field_selector,
            "labelSelector": resource.label_selector,
        }
        return {name: value for name, value in selectors.items() if value}

    def _note_list(self, revision: str) -> None:
        self._lists += 1
        self._revision = revision
        self._enter(Phase.FOLLOWING)
        self._tell_answered()

    async def _note(self, step: Step, outcome: Outcome) -> None:
        # A watch that is over or silent is taken up again; that shows whether the server is there.
        calm = Phase.LISTING if step.way is Way.STREAM else Phase.FOLLOWING
        phase = _PHASES.get(outcome.ending, calm)
        if outcome.ending in _RESTARTS:
            self._restarts += 1
        if phase is Phase.MISSING and self._phase is not Phase.MISSING:
            await self._sink.missing(self._resource)
        self._enter(phase, outcome.problem)
        if phase in {Phase.MISSING, Phase.UNKNOWN}:
            self._tell_answered()

    def _tell_answered(self) -> None:
        if self._answered is not None:
            self._answered()
        self._answered = None

    def _enter(self, phase: Phase, problem: str = "") -> None:
        self._problem = problem
        if phase is self._phase:
            return
        self._phase, self._since = phase, trio.current_time()
        log = _log.warning if phase is Phase.FAILING else _log.info
        log("phase changes", resource=self._resource.path, phase=phase.value, problem=problem)


def _refused(step: Step, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    return Outcome(
        ending_of(step.way, status),
        retry_after=retry_after(headers),
        problem=str(read_status(body, status)),
    )
