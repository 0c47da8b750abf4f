"""The node's connection to the cloud, made again and again for as long as the node runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from edgemesh.bus.edgehub.connector import Connected
from edgemesh.bus.edgehub.problems import CloudAwayError, CloudProblemError
from edgemesh.bus.edgehub.session import Hooks, Session, SyncWriter
from edgemesh.bus.pki.problems import CertificateProblem
from edgemesh.model.bus_settings import BusSettings
from edgemesh.model.errors import OperatorError
from edgemesh.model.sync import SyncPosition
from edgemesh.observe.log import get_logger
from edgemesh.policy.bus.reconnect import Reconnect
from edgemesh.store.errors import StoreError
from edgemesh.wire.message import Message

_log = get_logger("edgehub")


class Sync(Protocol):
    """Where objects of the cloud are kept."""

    @property
    def position(self) -> SyncPosition: ...

    async def begin(self) -> SyncWriter:
        """Begin with a connection; ``position`` says where to go on then."""


class Edgehub:
    """Keeps the connection.

    Args:
        settings: times and limits.
        node: this one.
        connect: makes one connection.
        sync: keeps what comes.
        addresses: of this node's links, by its address towards the cloud.
        chance: a number from 0 to 1, by lot.

    Attributes:
        on_user: is given Messages of group ``user``, each once; must return at once. Until it is
            set they are counted and dropped.
        connected: whether the connection stands.
        since: when that began, on trio's clock.
        edgemesh: whether the cloud is of our kind; None before the first connection.
        problem: what hinders the connection, or ended the last one.
        connections: that were made.
        counts: of Messages, by what became of them.
    """

    def __init__(
        self,
        settings: BusSettings,
        node: str,
        connect: Callable[[], AbstractAsyncContextManager[Connected]],
        sync: Sync,
        *,
        addresses: Callable[[str], Awaitable[tuple[str, ...]]],
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._node = node
        self._connect = connect
        self._sync = sync
        self._addresses = addresses
        self._chance = chance
        self._session: Session | None = None
        self.on_user: Callable[[Message], None] = self._drop
        self.connected = False
        self.since = trio.current_time()
        self.edgemesh: bool | None = None
        self.problem = ""
        self.connections = 0
        self.counts: Counter[str] = Counter()

    @property
    def notices(self) -> tuple[str, ...]:
        """What an operator should know of the present connection."""
        return tuple(self._session.notices.values()) if self._session else ()

    @property
    def waiting(self) -> int:
        """Messages that were received and are not on disk yet."""
        return self._session.waiting if self._session else 0

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        pauses = Reconnect(self._settings.first_retry_seconds, self._settings.max_retry_seconds)
        while True:
            lasted = await self._connection()
            await trio.sleep(pauses.pause(lasted, self._chance()))

    async def ask(self, message: Message, seconds: float) -> Message:
        """Send a question to the cloud and wait for its answer.

        Args:
            message: with a msg_id of its own.
            seconds: to wait.

        Raises:
            CloudAwayError: there is no connection, or it ended meanwhile.
            NoAnswerError: no answer came in time.
        """
        return await self._present().ask(message, seconds)

    async def send(self, message: Message) -> None:
        """Send a Message to the cloud; whether it arrives is not known.

        Raises:
            CloudAwayError: there is no connection.
        """
        await self._present().send(message)

    def _present(self) -> Session:
        if self._session is None:
            raise CloudAwayError(self.problem or "the cloud was not reached yet")
        return self._session

    async def _connection(self) -> float:
        """One connection, or the attempt at it; return how long it was good."""
        try:
            async with self._connect() as connected:
                problem = await self._talk(connected)
        except (CloudProblemError, CertificateProblem, OperatorError) as error:
            problem = str(error)
        lasted = trio.current_time() - self.since if self.connected else 0
        if self.connected or problem != self.problem:
            _log.warning("no connection to the cloud", problem=problem)
        self.problem = problem
        self._note(connected=False)
        return lasted

    async def _talk(self, connected: Connected) -> str:
        """Use a connection until it ends; return why it has."""
        self.edgemesh = connected.edgemesh
        self.connections += 1
        try:
            writer = await self._sync.begin()
        except StoreError as error:
            return str(error)
        session = Session(
            connected.frames,
            self._settings,
            self._node,
            edgemesh=connected.edgemesh,
            position=self._sync.position,
            writer=writer,
            hooks=Hooks(
                user=self._hand_on,
                addresses=lambda: self._addresses(connected.local),
                chance=self._chance,
            ),
            counts=self.counts,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_acceptance, session)
            self._session = session
            try:
                problem = await session.run()
            finally:
                self._session = None
            nursery.cancel_scope.cancel()
        return problem

    async def _note_acceptance(self, session: Session) -> None:
        await session.accepted.wait()
        self.problem = ""
        self._note(connected=True)
        _log.info("connected to the cloud", peer="edgemesh" if self.edgemesh else "KubeEdge")

    def _note(self, *, connected: bool) -> None:
        if connected != self.connected:
            self.connected, self.since = connected, trio.current_time()

    def _hand_on(self, message: Message) -> None:
        # Whoever wants them may have said so after the connection was made.
        self.on_user(message)

    def _drop(self, _message: Message) -> None:
        self.counts["ignored"] += 1
