"""This replica among others: where nodes are, and Messages for those that are elsewhere."""

from __future__ import annotations

import trio

from edgemesh.bus.close_codes import CloseCode
from edgemesh.bus.cloudhub.session import Session
from edgemesh.bus.cloudhub.sessions import Sessions
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.observe.log import get_logger
from edgemesh.store.errors import StoreError
from edgemesh.store.replicas import (
    MAIL_NOTICE,
    PRESENCE_NOTICE,
    Mail,
    Replica,
    ReplicaTable,
    Whereabouts,
)
from edgemesh.store.store import Store
from edgemesh.wire.message import Message, decode_message, encode_message

# A replica that has not said for so many periods that it lives, does not.
_PERIODS = 3

_ASK = "ask"
_TELL = "tell"
_ANSWER = "answer"
_AWAY = "away"
_SILENT = "silent"

_log = get_logger("cloudhub")


class Replicas:
    """Joins the sessions of all replicas.

    Args:
        store: shared by them.
        sessions: of this one.
        settings: its name and address, and how often it says that it lives.

    Attributes:
        living: all of them, this one included, as of the last look.
    """

    def __init__(self, store: Store, sessions: Sessions, settings: CloudSettings) -> None:
        self._store = store
        self._sessions = sessions
        self._name = settings.name
        self._seconds = settings.presence_seconds
        self._table = ReplicaTable(
            store, settings.name, settings.replica_address, _PERIODS * self._seconds
        )
        self._changes: list[Whereabouts] = []
        self._changed = trio.Event()
        self._mail = trio.Event()
        self._asked: dict[str, _Question] = {}
        self.living: list[Replica] = []
        sessions.on_change(self._note)
        sessions.elsewhere = self

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; started once this replica is known to others.

        Raises:
            StoreError: the store could not be written at the start.
        """
        self._store.on_notice(self._hear)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._store.follow, self._seconds, _warn)
            await self._announce()
            nursery.start_soon(self._keep_alive)
            nursery.start_soon(self._write_changes)
            nursery.start_soon(self._read_mail, nursery)
            task_status.started()

    async def leave(self) -> None:
        """Tell the others that this replica ends; what they do not hear they find out."""
        try:
            await self._table.leave()
        except StoreError as error:
            _warn(error.problem)

    async def where(self, node: str) -> Replica | None:
        """The replica that a node is connected to, None when it is to none.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self._table.where(node)

    async def tell(self, node: str, message: Message) -> None:
        """See `Sessions.tell`, for a node that is elsewhere."""
        await self._post_to(node, _TELL, message, self._seconds * _PERIODS)

    async def ask(self, node: str, message: Message, seconds: float) -> Message:
        """See `Sessions.ask`, for a node that is elsewhere."""
        question = _Question()
        self._asked[message.header.msg_id] = question
        try:
            with trio.move_on_after(seconds):
                await self._post_to(node, _ASK, message, seconds)
                await question.answered.wait()
        finally:
            del self._asked[message.header.msg_id]
        match question.answer:
            case Mail(kind="answer", body=body):
                return decode_message(body.encode())
            case Mail(kind="away", body=body):
                raise NodeAwayError(body)
            case _:
                raise NodeSilentError(f"node {node} has not answered within {seconds:g} s")

    async def _post_to(self, node: str, kind: str, message: Message, seconds: float) -> None:
        try:
            replica = await self._table.where(node)
            if replica is None or replica.name == self._name:
                raise NodeAwayError(f"node {node} is not connected")
            body = encode_message(message).decode()
            mail = Mail(self._name, node, kind, message.header.msg_id, body, seconds)
            await self._table.post(replica.name, mail)
        except StoreError as error:
            raise NodeAwayError(f"node {node} is not connected here: {error.problem}") from error

    def _note(self, session: Session, *, here: bool) -> None:
        self._changes.append(Whereabouts(session.node, session.id, here))
        self._changed.set()

    def _hear(self, notice: str) -> None:
        match notice.split(" "):
            case [""]:
                self._mail.set()
            case [word, name] if word == MAIL_NOTICE and name == self._name:
                self._mail.set()
            case [word, node, session, replica] if word == PRESENCE_NOTICE:
                present = self._sessions.get(node)
                if replica != self._name and present is not None and present.id != session:
                    present.end(
                        CloseCode.TOOK_OVER, f"node {node} has connected again, to {replica}"
                    )

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(self._seconds)
            try:
                await self._announce()
            except StoreError as error:
                _warn(error.problem)

    async def _announce(self) -> None:
        living, new = await self._table.announce()
        if new:
            # The others have forgotten who is here, if they ever knew.
            self._changes[:0] = [
                Whereabouts(session.node, session.id, here=True) for session in self._sessions
            ]
            self._changed.set()
        if living != self.living:
            _log.info("replicas", living=[replica.name for replica in living])
        self.living = living

    async def _write_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            changes, self._changes = self._changes, []
            try:
                await self._table.note(changes, self._is_true)
            except StoreError as error:
                _warn(error.problem)
                self._changes[:0] = changes
                await trio.sleep(self._seconds)
                self._changed.set()

    def _is_true(self, change: Whereabouts) -> bool:
        session = self._sessions.get(change.node)
        return change.here == (session is not None and session.id == change.session)

    async def _read_mail(self, nursery: trio.Nursery) -> None:
        while True:
            await self._mail.wait()
            self._mail = trio.Event()
            try:
                mails = await self._table.take()
            except StoreError as error:
                _warn(error.problem)
                continue
            for mail in mails:
                if mail.kind in {_ASK, _TELL}:
                    nursery.start_soon(self._deliver, mail)
                elif question := self._asked.get(mail.request):
                    question.answer = mail
                    question.answered.set()

    async def _deliver(self, mail: Mail) -> None:
        """Do for another replica what it asks."""
        try:
            kind, body = _ANSWER, await self._reply(mail)
        except NodeAwayError as error:
            kind, body = _AWAY, str(error)
        except NodeSilentError as error:
            kind, body = _SILENT, str(error)
        if mail.kind == _TELL:
            return
        answer = Mail(self._name, mail.node, kind, mail.request, body, mail.seconds)
        try:
            await self._table.post(mail.sender, answer)
        except StoreError as error:
            _warn(error.problem)

    async def _reply(self, mail: Mail) -> str:
        message = decode_message(mail.body.encode())
        session = self._sessions.get(mail.node)
        if session is None:
            raise NodeAwayError(f"node {mail.node} is not connected")
        if mail.kind == _TELL:
            await session.tell(message)
            return ""
        return encode_message(await session.ask(message, mail.seconds)).decode()


class _Question:
    """An `ask` that waits for mail."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Mail | None = None


def _warn(problem: str) -> None:
    _log.warning("the other replicas cannot be reached", problem=problem)
