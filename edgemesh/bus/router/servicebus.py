"""A node's servicebus: what the cloud's router asks of applications of this node is done here.

Requests go to 127.0.0.1, and only to ports that a RuleEndpoint of type ``servicebus`` names.
KubeEdge (edge/pkg/servicebus/servicebus.go, v1.23) calls whatever port a Message names.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

import trio

from edgemesh.bus.http.client import exchange
from edgemesh.bus.http.messages import (
    BodyTooLongError,
    HttpError,
    HttpSilentError,
    Request,
    end_to_end,
    read_whole,
    whole_body,
)
from edgemesh.wire.kubeedge.router import Call, Reply, gather_headers, read_call, reply
from edgemesh.wire.message import Message, MessageError, Stamp

_LOCALHOST = "127.0.0.1"
_MAX_HEAD_BYTES = 61440
_REASON = "X-Edgemesh-Reason"


class Servicebus:
    """Calls applications of this node."""

    def __init__(
        self,
        ports: Callable[[], AbstractSet[int]],
        new_stamp: Callable[[], Stamp],
        *,
        seconds: float,
        max_body_bytes: int,
    ) -> None:
        """Call nothing yet.

        Args:
            ports: those that may be called, at present.
            new_stamp: makes a Message's id and time.
            seconds: that a call may take.
            max_body_bytes: of an answer, which has to fit into a Message.
        """
        self._ports = ports
        self._new_stamp = new_stamp
        self._seconds = seconds
        self._max_body_bytes = max_body_bytes

    async def answer(self, message: Message) -> Message:
        """Do what a Message asks; what goes wrong is an answer, too."""
        try:
            answered = await self._call(read_call(message))
        except MessageError as error:
            answered = _failure(400, "bad_request", str(error))
        return reply(message, self._new_stamp(), answered)

    async def _call(self, wanted: Call) -> Reply:
        port = wanted.target.port
        if port not in self._ports():
            return _failure(403, "no_rule", f"no RuleEndpoint names port {port} of this node")
        with trio.move_on_after(self._seconds):
            try:
                return await self._exchange(wanted)
            except BodyTooLongError as error:
                return _failure(502, "too_large", f"port {port}: {error}")
            except HttpSilentError as error:
                return _failure(504, "timeout", f"port {port}: {error}")
            except HttpError as error:
                return _failure(502, "bad_answer", f"port {port}: {error}")
            except OSError as error:
                return _failure(502, "not_reached", f"port {port}: {error.strerror or error}")
        text = f"port {port}: no whole answer in {self._seconds:g} s"
        return _failure(504, "timeout", text)

    async def _exchange(self, wanted: Call) -> Reply:
        given = [(name, value) for name, values in wanted.headers.items() for value in values]
        fields = tuple(field for field in end_to_end(given) if field[0].lower() != "host")
        host = ("Host", f"{_LOCALHOST}:{wanted.target.port}")
        request = Request(
            wanted.method,
            wanted.target.path,
            (host, *fields),
            whole_body(wanted.body),
            len(wanted.body),
        )
        stream = await trio.open_tcp_stream(_LOCALHOST, wanted.target.port)
        async with (
            stream,
            exchange(
                stream, request, max_head_bytes=_MAX_HEAD_BYTES, seconds=self._seconds
            ) as answer,
        ):
            body = await read_whole(answer.body, self._max_body_bytes)
            return Reply(answer.status, gather_headers(end_to_end(answer.fields)), body)


def _failure(status: int, reason: str, text: str) -> Reply:
    headers = {"Content-Type": ["text/plain; charset=utf-8"], _REASON: [reason]}
    return Reply(status, headers, f"{text}\n".encode())
