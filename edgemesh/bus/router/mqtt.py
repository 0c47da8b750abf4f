"""A client of an MQTT broker on trio: paho's own loop functions, called when its socket is ready.

paho-mqtt documents this as "external event loop support": it keeps the protocol, we wait.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import trio
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edgemesh.observe.log import get_logger

_MISC_SECONDS = 1.0
_DEFAULT_PORT = 1883
_QOS = 1
_UNSPECIFIED = "Unspecified error"

_log = get_logger("eventbus")


class BrokerGoneError(Exception):
    """There is no connection with the broker now."""


class BrokerAddress(NamedTuple):
    """Where a broker is: ``mqtt://[user[:password]@]host[:port]``."""

    host: str
    port: int
    user: str = ""
    password: str = ""

    @classmethod
    def parse(cls, url: str) -> BrokerAddress:
        """Read an address.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"expected mqtt://host:port, got {url!r}")
        return cls(
            parts.hostname, parts.port or _DEFAULT_PORT, parts.username or "", parts.password or ""
        )


class MqttClient:
    """One broker: connected for as long as `run` runs, and again when that breaks.

    Attributes:
        connected: whether the broker has accepted us.
        problem: why it has not, "" when nothing is wrong.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        received: Callable[[str, bytes], None],
        *,
        keepalive_seconds: float,
        first_retry_seconds: float,
        max_retry_seconds: float,
    ) -> None:
        """Connect to nothing yet.

        Args:
            address: of the broker.
            client_id: that no other client of the broker has.
            received: called with topic and payload of each message of a subscribed topic.
            keepalive_seconds: between pings.
            first_retry_seconds: pause after a connection that failed.
            max_retry_seconds: the longest, after many.
        """
        self._address = address
        self._keepalive_seconds = keepalive_seconds
        self._first_retry_seconds = first_retry_seconds
        self._max_retry_seconds = max_retry_seconds
        self._received = received
        self._topics: set[str] = set()
        self._accepted = trio.Event()
        self._wanted_write = trio.Event()
        self.connected = False
        self.problem = "not connected yet"
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, reconnect_on_failure=False
        )
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        # Called by paho when it has something to write and could not write it at once.
        self._client.on_socket_register_write = lambda *_: self._wanted_write.set()
        if address.user:
            self._client.username_pw_set(address.user, address.password or None)

    def subscribe(self, topic: str) -> None:
        """Receive a topic from now on, over every connection to come too."""
        if topic not in self._topics:
            self._topics.add(topic)
            if self.connected:
                self._client.subscribe(topic, _QOS)

    def unsubscribe(self, topic: str) -> None:
        """Receive a topic no longer."""
        if topic in self._topics:
            self._topics.discard(topic)
            if self.connected:
                self._client.unsubscribe(topic)

    def publish(self, topic: str, payload: bytes) -> None:
        """Give a message to the broker.

        Raises:
            BrokerGoneError: there is no connection.
            ValueError: the topic cannot be published to.
        """
        if not self.connected:
            raise BrokerGoneError(self.problem)
        self._client.publish(topic, payload, _QOS)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled; started at once.

        Cancellation: the connection is closed.
        """
        task_status.started()
        pause = self._first_retry_seconds
        while True:
            try:
                await self._connect()
                await self._serve()
            except OSError as error:
                self._tell(f"{self._address.host}:{self._address.port}: {error.strerror or error}")
            finally:
                self._close()
            pause = self._first_retry_seconds if self._accepted.is_set() else pause
            self._accepted = trio.Event()
            await trio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, self._max_retry_seconds)

    async def _connect(self) -> None:
        host, port = self._address.host, self._address.port
        keepalive = max(int(self._keepalive_seconds), 1)
        # Resolves the name and connects: blocking, within paho's connect_timeout of 5 seconds.
        await trio.to_thread.run_sync(self._client.connect, host, port, keepalive)

    async def _serve(self) -> None:
        """Move bytes until the connection ends."""
        async with trio.open_nursery() as nursery:
            for loop in (self._read, self._write, self._upkeep):
                nursery.start_soon(self._until_gone, loop, nursery.cancel_scope)

    async def _until_gone(self, loop: Callable[[], Any], scope: trio.CancelScope) -> None:
        while await loop() == MQTTErrorCode.MQTT_ERR_SUCCESS and self._client.socket():
            pass
        scope.cancel()

    async def _read(self) -> MQTTErrorCode:
        await trio.lowlevel.wait_readable(self._socket())
        return self._client.loop_read()

    async def _write(self) -> MQTTErrorCode:
        if not self._client.want_write():
            self._wanted_write = trio.Event()
            await self._wanted_write.wait()
        await trio.lowlevel.wait_writable(self._socket())
        return self._client.loop_write()

    async def _upkeep(self) -> MQTTErrorCode:
        await trio.sleep(_MISC_SECONDS)
        return self._client.loop_misc()

    def _socket(self) -> Any:
        sock = self._client.socket()
        if sock is None:
            raise BrokenPipeError("the broker has closed the connection")
        return sock

    def _close(self) -> None:
        was_connected, self.connected = self.connected, False
        if self._client.socket() is not None:
            self._client.disconnect()
            self._client.loop_write()
        if was_connected and not self.problem:
            self._tell("the connection ended")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            self._tell(f"{self._address.host}:{self._address.port}: refused: {reason}")
            return
        self.connected = True
        self.problem = ""
        self._accepted.set()
        _log.info("connected with the broker", host=self._address.host, port=self._address.port)
        for topic in sorted(self._topics):
            self._client.subscribe(topic, _QOS)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._received(message.topic, bytes(message.payload))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, *_: Any) -> None:
        if self.connected:
            self.connected = False
            where = f"{self._address.host}:{self._address.port}"
            # paho calls whatever broke a connection "Unspecified error".
            broke = reason == _UNSPECIFIED
            self._tell(f"{where}: {'the connection broke' if broke else reason}")

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("no connection with the broker", problem=problem)
        self.problem = problem
