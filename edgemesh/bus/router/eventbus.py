"""A node's eventbus: between topics of its MQTT broker and the cloud's router."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Self

import trio

from edgemesh.bus.edgehub.problems import CloudAwayError
from edgemesh.bus.router.mqtt import BrokerAddress, BrokerGoneError, MqttClient
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.errors import OperatorError
from edgemesh.observe.log import get_logger
from edgemesh.wire.kubeedge.router import EVENTBUS, upload
from edgemesh.wire.message import Message, MessageError, Operation, Stamp

_RETRY_SECONDS = 1.0

_log = get_logger("eventbus")


class Eventbus:
    """Publishes what the cloud sends, and brings what is published to topics that it named.

    Attributes:
        client: of the broker.
        dropped: messages of the broker that gave way to newer ones while the cloud was away.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        settings: BusSettings,
        send: Callable[[Message], Awaitable[None]],
        new_stamp: Callable[[], Stamp],
    ) -> None:
        """Connect to nothing yet.

        Args:
            address: of the broker.
            client_id: that no other client of the broker has.
            settings: times and limits.
            send: a Message to the cloud; raises CloudAwayError.
            new_stamp: makes a Message's id and time.
        """
        self._settings = settings
        self._to_cloud = send
        self._new_stamp = new_stamp
        self._namespaces: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting: deque[Message] = deque()
        self._news = trio.Event()
        self.dropped = 0
        self.client = MqttClient(
            address,
            client_id,
            self._received,
            keepalive_seconds=settings.keepalive_seconds,
            first_retry_seconds=settings.first_retry_seconds,
            max_retry_seconds=settings.max_retry_seconds,
        )

    @classmethod
    def configured(
        cls,
        settings: BusSettings,
        node: str,
        send: Callable[[Message], Awaitable[None]],
        new_stamp: Callable[[], Stamp],
    ) -> Self | None:
        """The eventbus of a configuration, None where it has no broker.

        Raises:
            OperatorError: the broker's address is malformed.
        """
        if not settings.eventbus:
            return None
        try:
            address = BrokerAddress.parse(settings.eventbus)
        except ValueError as error:
            raise OperatorError(f"bus.eventbus: {error}") from None
        return cls(address, f"edgemesh-{node}", settings, send, new_stamp)

    def take(self, message: Message) -> None:
        """Do what the cloud's router asks: publish, subscribe or unsubscribe."""
        route = message.route
        if route.operation == Operation.PUBLISH:
            self._publish(message)
            return
        namespace, _, topic = route.resource.partition("/")
        if not topic:
            _log.warning("not NAMESPACE/TOPIC", resource=route.resource)
        elif route.operation == Operation.SUBSCRIBE:
            self._namespaces[topic].add(namespace)
            self.client.subscribe(topic)
        elif route.operation == Operation.UNSUBSCRIBE:
            self._namespaces[topic].discard(namespace)
            if not self._namespaces[topic]:
                del self._namespaces[topic]
                self.client.unsubscribe(topic)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started at once."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.client.run)
            task_status.started()
            await self._bring()

    def _publish(self, message: Message) -> None:
        topic = message.route.resource
        try:
            value = message.value()
            payload = value.encode() if isinstance(value, str) else bytes(message.content)
            self.client.publish(topic, payload)
        except (BrokerGoneError, MessageError, ValueError) as error:
            _log.warning("a message of the cloud is not published", topic=topic, problem=str(error))

    def _received(self, topic: str, payload: bytes) -> None:
        for namespace in sorted(self._namespaces.get(topic, ())):
            if len(self._waiting) >= self._settings.max_uploads:
                self._waiting.popleft()
                self.dropped += 1
            resource = f"{namespace}/{topic}"
            self._waiting.append(upload(self._new_stamp(), EVENTBUS, resource, payload))
        self._news.set()

    async def _bring(self) -> None:
        """Bring to the cloud what was published, in its order; wait while there is no cloud."""
        while True:
            while self._waiting:
                message = self._waiting.popleft()
                try:
                    await self._to_cloud(message)
                except CloudAwayError:
                    self._waiting.appendleft(message)
                    await trio.sleep(_RETRY_SECONDS)
            self._news = trio.Event()
            await self._news.wait()
