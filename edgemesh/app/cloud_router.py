"""The cloud's router: its rules, its REST ingress, and its ways to nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from edgemesh.app.cloud_hub import CloudHub
from edgemesh.bus.cloudhub.refusals import Reason
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.cloudhub.sessions import Sessions
from edgemesh.bus.router.ingress import serve_http
from edgemesh.bus.router.lines import Work, WorkLines
from edgemesh.bus.router.outcomes import RuleOutcomes
from edgemesh.bus.router.rest import RestRouter
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.bus.router.uploads import Uploads
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger
from edgemesh.store.router import RouterStore
from edgemesh.store.store import Store
from edgemesh.wire.kubeedge.router import EVENTBUS, is_upload
from edgemesh.wire.message import Message

_log = get_logger("router")

OpenServicebus = Callable[[str, int, float], Awaitable[trio.abc.Stream | None]]


class CloudNodes:
    """Nodes by their sessions and links: see `Nodes`."""

    def __init__(self, sessions: Sessions, open_servicebus: OpenServicebus) -> None:
        """Reach nodes by their sessions, and their applications by ``open_servicebus``."""
        self._sessions = sessions
        self._open_servicebus = open_servicebus
        self.tell = sessions.tell
        self.ask = sessions.ask

    async def open_servicebus(self, node: str, port: int, seconds: float) -> trio.abc.Stream | None:
        """See `Nodes.open_servicebus`."""
        session = self._sessions.get(node)
        if session is None or not session.caller.edgemesh:
            return None
        return await self._open_servicebus(node, port, seconds)


class CloudRouter:
    """See the module.

    Attributes:
        rulebook: the rules.
        outcomes: what became of their calls.
        tables: where both are kept.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        hub: CloudHub,
        open_servicebus: OpenServicebus,
    ) -> None:
        """Serve nothing yet; see `run`.

        Args:
            settings: complete.
            store: the cloud's.
            hub: where nodes are connected, whose Messages for the router are taken, and where
                what is no request is counted.
            open_servicebus: see `Nodes`.
        """
        cloud = self._settings = settings.cloud
        self.tables = RouterStore(
            store, max_errors=cloud.rule_errors, max_deleted=cloud.deleted_rules
        )
        self.rulebook = Rulebook(store, settings.meta.page_bytes, self.tables.keep)
        self.outcomes = RuleOutcomes(self.tables.count)
        nodes = CloudNodes(hub.sessions, open_servicebus)
        self._uploads = Uploads(self.rulebook, self.outcomes, nodes, cloud, new_stamp)
        self._rest = RestRouter(self.rulebook, self.outcomes, nodes, cloud, new_stamp)
        self._sessions = hub.sessions
        self._inbound = hub.inbound
        self._refusals = hub.refusals
        self._leading = WorkLines(cloud.max_uploads)
        self._telling = WorkLines(cloud.max_nodes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once the ingress listens.

        Raises:
            OperatorError: it cannot.
            StoreError: the store cannot be read.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.outcomes.run)
            await nursery.start(self.rulebook.run)
            nursery.start_soon(self._leading.run)
            nursery.start_soon(self._telling.run)
            self.rulebook.on_change(lambda: self._tell(self._uploads.rules_changed))
            self._sessions.on_change(self._note)
            self._inbound.route = self._take
            cloud = self._settings
            handle = self._rest.handle
            refused = partial(self._refusals.count, Reason.MALFORMED_REQUEST, "rest")
            await nursery.start(
                serve_http,
                "cloud.rest_listen",
                cloud.rest_listen,
                handle,
                cloud.max_requests,
                refused,
            )
            task_status.started()

    def _note(self, session: Session, *, here: bool) -> None:
        if here:
            self._tell(lambda: self._uploads.connected(session.node))
        elif self._sessions.get(session.node) is None:
            self._uploads.disconnected(session.node)

    def _take(self, node: str, message: Message) -> None:
        if is_upload(message):
            # Who asks waits for an answer, and orders what he asks himself.
            is_event = message.route.source == EVENTBUS
            line = (node, message.route.resource) if is_event else message.header.msg_id
            if not self._leading.put(line, lambda: self._uploads.take(node, message)):
                _log.warning("an upload is dropped", node=node, most=self._settings.max_uploads)

    def _tell(self, work: Work) -> None:
        """Tell nodes what they are to bring; one thing after the other."""
        self._telling.put("", work)
