"""Questions that wait for their answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from edgemesh.bus.edgehub.problems import CloudAwayError, NoAnswerError
from edgemesh.wire.message import Message


class Question:
    """One that was asked; made by `Questions.asked`."""

    def __init__(self) -> None:
        self._settled = trio.Event()
        self._answer: Message | None = None
        self._problem = ""

    @property
    def open(self) -> bool:
        """Whether it waits still."""
        return not self._settled.is_set()

    def settle(self, answer: Message | None, problem: str = "") -> None:
        """Give the answer, or say why there will be none."""
        self._answer, self._problem = answer, problem
        self._settled.set()

    async def wait(self, seconds: float) -> Message:
        """Wait for the answer.

        Raises:
            NoAnswerError: none came in time.
            CloudAwayError: the connection has ended.
        """
        with trio.move_on_after(seconds):
            await self._settled.wait()
        if self._answer is not None:
            return self._answer
        if self.open:
            raise NoAnswerError(f"the cloud gave no answer within {seconds:g} s")
        raise CloudAwayError(self._problem)


class Questions:
    """Those of one connection, by their msg_id."""

    def __init__(self) -> None:
        self._open: dict[str, Question] = {}

    @contextmanager
    def asked(self, msg_id: str) -> Iterator[Question]:
        """Expect an answer to a Message, for the block."""
        question = self._open[msg_id] = Question()
        try:
            yield question
        finally:
            del self._open[msg_id]

    def answer(self, message: Message) -> bool:
        """Hand a Message to who asked for it; False when nobody did, or has it already."""
        question = self._open.get(message.header.parent_msg_id)
        if question is None or not question.open:
            return False
        question.settle(message)
        return True

    def end(self, problem: str) -> None:
        """Let everyone who waits know that no answer will come."""
        for question in self._open.values():
            if question.open:
                question.settle(None, problem)
