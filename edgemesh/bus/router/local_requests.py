"""What applications of a node send to the cloud by its servicebus: POST to 127.0.0.1:9060.

KubeEdge's form (edge/pkg/servicebus/server.go): ``{"method","targetURL","payload"}`` in,
``{"code","msg","body"}`` out, with the same status as ``code``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from edgemesh.bus.http.messages import (
    BodyTooLongError,
    Request,
    Response,
    read_whole,
    whole_body,
)
from edgemesh.bus.http.server import Respond
from edgemesh.bus.router.nodes import NodeAwayError, NodeSilentError
from edgemesh.wire.kubeedge.router import SERVICEBUS, upload
from edgemesh.wire.message import Message, MessageError, Stamp


class _Asked(msgspec.Struct, rename="camel"):
    target_url: str = msgspec.field(name="targetURL")
    method: str = "POST"
    payload: msgspec.Raw = msgspec.Raw(b"null")


class LocalRequests:
    """Answers applications of this node."""

    def __init__(
        self,
        ask: Callable[[Message], Awaitable[Message]],
        urls: Callable[[], AbstractSet[str]],
        new_stamp: Callable[[], Stamp],
        max_body_bytes: int,
    ) -> None:
        """Answer nothing yet.

        Args:
            ask: sends a Message to the cloud and returns its answer; raises NodeAwayError where
                there is no connection, and NodeSilentError where there is no answer in time.
            urls: those that may be called, at present.
            new_stamp: makes a Message's id and time.
            max_body_bytes: of a request.
        """
        self._ask = ask
        self._urls = urls
        self._new_stamp = new_stamp
        self._max_body_bytes = max_body_bytes

    async def handle(self, request: Request, respond: Respond) -> None:
        """Answer a request; see `serve_requests`."""
        code, said, body = await self._answer(request)
        content = msgspec.json.encode({"code": code, "msg": said, "body": body})
        fields = (("Content-Type", "application/json"),)
        await respond(Response(code, fields, whole_body(content), len(content)))

    async def _answer(self, request: Request) -> tuple[int, str, Any]:
        if request.method != "POST":
            return 405, "only POST is served here", ""
        try:
            content = await read_whole(request.body, self._max_body_bytes)
        except BodyTooLongError as error:
            return 413, str(error), ""
        try:
            asked = msgspec.json.decode(content, type=_Asked)
        except (msgspec.DecodeError, RecursionError) as error:
            return 400, f"not a request for the cloud: {error}", ""
        if asked.target_url not in self._urls():
            return 404, f"no rule leads {asked.target_url} of this node on", ""
        message = upload(self._new_stamp(), SERVICEBUS, asked.target_url, content)
        try:
            answer = await self._ask(message)
            value = answer.value()
        except NodeAwayError as error:
            return 503, str(error), ""
        except NodeSilentError as error:
            return 504, str(error), ""
        except MessageError as error:
            return 502, f"the cloud answered: {error}", ""
        return 200, "receive response from cloud successfully", value
