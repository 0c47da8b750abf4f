"""Events about objects at an API server, for those who look there and not here.

Source: ``events.k8s.io/v1``.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import trio

from edgemesh.cloud.access import Access, UnreachableError
from edgemesh.cloud.objects import ApiRefusedError, create
from edgemesh.model.kubernetes_settings import KubernetesSettings
from edgemesh.observe.log import get_logger
from edgemesh.policy.objects.written_status import CONTROLLER_NAME, Observed

_log = get_logger("events")

# The API's limits for note, and for the reporter's name.
_LONGEST_NOTE = 1000
_LONGEST_INSTANCE = 128
_WAITING = 100


class Events:
    """Writes Events, each once for a while.

    Args:
        access: to the server.
        settings: how long, and how many.
        instance: of this replica.

    Attributes:
        written: that were created.
        problem: why the last could not be, "" when it could.
    """

    def __init__(self, access: Access, settings: KubernetesSettings, instance: str) -> None:
        self._access = access
        self._settings = settings
        self._instance = instance[:_LONGEST_INSTANCE]
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._send, self._receive = trio.open_memory_channel[tuple[str, dict[str, Any]]](_WAITING)
        self.written = 0
        self.problem = ""

    def warn(self, about: Observed, reason: str, note: str) -> None:
        """Say that something is wrong with an object.

        Args:
            about: the object.
            reason: one word for programs.
            note: a sentence.
        """
        now = trio.current_time()
        what = (about.uid or str(about.key), reason, note)
        told = self._told.pop(what, None)
        is_news = told is None or now >= told + self._settings.event_seconds
        self._told[what] = now if told is None or is_news else told
        if len(self._told) > self._settings.max_events:
            self._told.popitem(last=False)
        if not is_news:
            return
        namespace = about.key.namespace or "default"
        try:
            self._send.send_nowait((namespace, self._body(namespace, about, reason, note)))
        except trio.WouldBlock:
            # So that it is told when it is found again.
            del self._told[what]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; started at once."""
        task_status.started()
        async for namespace, body in self._receive:
            try:
                path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
                await create(self._access, path, body)
            except (ApiRefusedError, UnreachableError) as error:
                if not self.problem:
                    _log.warning("events are not written", problem=str(error))
                self.problem = str(error)
                pause = error.pause if isinstance(error, ApiRefusedError) else 0.0
            else:
                self.written += 1
                self.problem, pause = "", 0.0
            await trio.sleep(min(pause, self._settings.max_retry_after_seconds))

    def _body(self, namespace: str, about: Observed, reason: str, note: str) -> dict[str, Any]:
        key = about.key
        regarding = {
            "apiVersion": about.api_version,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": about.uid,
            "resourceVersion": about.revision,
        }
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name[:200]}.", "namespace": namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER_NAME,
            "reportingInstance": self._instance,
            "action": "Serve",
            "reason": reason,
            "type": "Warning",
            "regarding": {name: text for name, text in regarding.items() if text},
            "note": note[:_LONGEST_NOTE],
        }
