"""The node's side of the router: its servicebus and its eventbus."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import trio

from edgemesh.bus.edgehub.edgehub import Edgehub
from edgemesh.bus.edgehub.problems import CloudAwayError, NoAnswerError
from edgemesh.bus.router.eventbus import Eventbus
from edgemesh.bus.router.ingress import serve_http
from edgemesh.bus.router.local_requests import LocalRequests
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.bus.router.servicebus import Servicebus
from edgemesh.bus.stamp import new_stamp
from edgemesh.model.router import RuleEndpointType
from edgemesh.model.settings import Settings
from edgemesh.observe.log import get_logger
from edgemesh.store.store import Store
from edgemesh.wire.kubeedge.router import ROUTER_EVENTBUS, ROUTER_SERVICEBUS, is_call
from edgemesh.wire.message import Message, Operation

_log = get_logger("router")

# Local connections of applications at a time.
_MAX_APPLICATIONS = 64


class EdgeRouter:
    """See the module.

    Attributes:
        rulebook: the rules that came from the cloud.
        eventbus: None where no broker is configured.
    """

    def __init__(self, settings: Settings, store: Store, edgehub: Edgehub) -> None:
        """Serve nothing yet; see `run`.

        Raises:
            OperatorError: ``bus.eventbus`` is malformed.
        """
        bus = self._settings = settings.bus
        self._node = settings.node
        self._edgehub = edgehub
        self._allowed_urls: set[str] = set()
        self.rulebook = Rulebook(store, settings.meta.page_bytes)
        self.eventbus = Eventbus.configured(bus, settings.node, edgehub.send, new_stamp)
        self._servicebus = Servicebus(
            self.ports, new_stamp, seconds=bus.request_seconds, max_body_bytes=bus.max_body_bytes
        )
        self._local = LocalRequests(self._ask, self._urls, new_stamp, bus.max_body_bytes)
        self._send, self._calls = trio.open_memory_channel[Message](bus.max_uploads)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once applications can ask.

        Raises:
            OperatorError: an address cannot be listened on.
            StoreError: the store cannot be read.
        """
        bus = self._settings
        async with trio.open_nursery() as nursery:
            await nursery.start(self.rulebook.run)
            if self.eventbus is not None:
                await nursery.start(self.eventbus.run)
            nursery.start_soon(self._answer_calls, nursery)
            self._edgehub.on_user = self._take
            if bus.servicebus_listen:
                await nursery.start(
                    serve_http,
                    "bus.servicebus_listen",
                    bus.servicebus_listen,
                    self._local.handle,
                    _MAX_APPLICATIONS,
                    lambda problem: _log.info("no request of an application", problem=problem),
                )
            task_status.started()
            await trio.sleep_forever()

    def _take(self, message: Message) -> None:
        """Take what the router of the cloud says; returns at once."""
        match message.route.source:
            case source if source == ROUTER_SERVICEBUS and is_call(message):
                try:
                    self._send.send_nowait(message)
                except trio.WouldBlock:
                    _log.warning("a call is dropped", waiting=self._settings.max_uploads)
            case source if source == ROUTER_SERVICEBUS:
                change = self._allowed_urls.add
                if message.route.operation == Operation.STOP:
                    change = self._allowed_urls.discard
                change(message.route.resource)
            case source if source == ROUTER_EVENTBUS and self.eventbus is not None:
                self.eventbus.take(message)
            case source:
                _log.info("nobody here takes this", source=source, resource=message.route.resource)

    async def _answer_calls(self, nursery: trio.Nursery) -> None:
        async def answer(message: Message) -> None:
            answered = await self._servicebus.answer(message)
            try:
                await self._edgehub.send(answered)
            except CloudAwayError:
                # The cloud's router has told its caller so.
                _log.info("an answer found no cloud", resource=message.route.resource)

        async for message in self._calls:
            nursery.start_soon(answer, message)

    async def _ask(self, message: Message) -> Message:
        try:
            return await self._edgehub.ask(message, self._settings.request_seconds)
        except CloudAwayError as error:
            raise NodeAwayError(str(error)) from error
        except NoAnswerError as error:
            raise NodeSilentError(str(error)) from error

    def ports(self) -> AbstractSet[int]:
        """Ports of applications of this node that the cloud may call, at present."""
        named = {
            int(endpoint.properties["service_port"])
            for endpoint in self.rulebook.endpoints.values()
            if endpoint.type is RuleEndpointType.SERVICEBUS
        }
        return named | set(self._settings.servicebus_ports)

    def _urls(self) -> AbstractSet[str]:
        named = {
            rule.source_resource["target_url"]
            for rule in self.rulebook.rules.values()
            if rule.in_use
            and rule.source.type is RuleEndpointType.SERVICEBUS
            and rule.source_resource.get("node_name") == self._node
        }
        return named | self._allowed_urls
