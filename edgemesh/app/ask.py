"""Ask the running agent about itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import trio

from edgemesh.meta.client import connect
from edgemesh.model.errors import OperatorError
from edgemesh.model.settings import MetaSettings
from edgemesh.wire.message import Operation

Answer = TypeVar("Answer")


async def ask_agent(
    path: Path, settings: MetaSettings, resource: str, answer: type[Answer], content: Any = None
) -> Answer:
    """Put one query and read its answer.

    Args:
        path: of the metamanager's socket.
        settings: how long to wait, and how long an answer may be.
        resource: ``null/status``.
        answer: the type that the answer has.
        content: of the question, when it needs any.

    Raises:
        RefusedError: the agent says why it does not answer.
        OperatorError: no agent answers, not in time, or it answers something else.
    """
    with trio.move_on_after(settings.answer_timeout_seconds):
        async with connect(path, settings) as client:
            told = await client.request(Operation.QUERY, resource, content)
        return read_answer(path, resource, told, answer)
    raise OperatorError(
        f"the agent on {path} has not answered within {settings.answer_timeout_seconds:g} s",
        "it may be stopped or overloaded: see its log",
    )


def read_answer(path: Path, resource: str, told: Any, answer: type[Answer]) -> Answer:
    """Read what was answered.

    Args:
        path: of the socket that it came from.
        resource: that was asked for.
        told: JSON values.
        answer: the type that they have.

    Raises:
        OperatorError: they have not.
    """
    try:
        return msgspec.convert(told, answer)
    except msgspec.ValidationError as error:
        raise OperatorError(
            f"socket {path}: the answer to {resource} is unknown here: {error}",
            "run agent and command from the same version",
        ) from error
