"""REST requests at the cloud: each is led where its rule says, and answered as the target answers.

Unlike KubeEdge's router: status and fields of the target come back as they are, nothing is sent a
second time, bodies stream to nodes that take streams, and what fails says why at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import trio

from edgemesh.bus.http.client import exchange
from edgemesh.bus.http.messages import (
    BodyTooLongError,
    Fields,
    HttpError,
    HttpSilentError,
    Request,
    Response,
    end_to_end,
    read_whole,
    text_response,
    whole_body,
)
from edgemesh.bus.http.server import Respond
from edgemesh.bus.router.nodes import NodeAwayError, Nodes, NodeSilentError, NotReachedError
from edgemesh.bus.router.outcomes import RuleOutcomes
from edgemesh.bus.router.rulebook import Rulebook
from edgemesh.model.bus_settings import CloudSettings
from edgemesh.model.router import RouterRule, RuleEndpointType
from edgemesh.policy.router.rest import RestTarget, rest_target, target_path
from edgemesh.wire.kubeedge.router import (
    Call,
    CallTarget,
    call,
    gather_headers,
    is_reply,
    publish,
    read_reply,
)
from edgemesh.wire.message import MessageError, Stamp

REASON = "X-Edgemesh-Reason"

_MAX_HEAD_BYTES = 61440


class RefusedRequest(Exception):  # noqa: N818 - an answer, not an accident
    """A request that gets an answer of ours.

    Args:
        status: of HTTP.
        reason: one word for programs.
        text: one sentence for people.
        fields: besides those that every answer has.
    """

    def __init__(self, status: int, reason: str, text: str, fields: Fields = ()) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.fields = fields

    def response(self) -> Response:
        """The answer."""
        return text_response(self.status, str(self), ((REASON, self.reason), *self.fields))


class _Led(NamedTuple):
    """A request, the rule that it falls under, and its path at the rule's target."""

    request: Request
    target: RestTarget
    rule: RouterRule
    rest: str

    @property
    def path(self) -> str:
        """Path and query at the target."""
        return target_path(self.rule, self.rest, self.target.query)


class RestRouter:
    """Answers REST requests."""

    def __init__(
        self,
        rulebook: Rulebook,
        outcomes: RuleOutcomes,
        nodes: Nodes,
        settings: CloudSettings,
        new_stamp: Callable[[], Stamp],
    ) -> None:
        """Answer nothing yet.

        Args:
            rulebook: the rules.
            outcomes: where calls are counted.
            nodes: where they go.
            settings: limits and times.
            new_stamp: makes a Message's id and time.
        """
        self._rulebook = rulebook
        self._outcomes = outcomes
        self._nodes = nodes
        self._settings = settings
        self._new_stamp = new_stamp

    async def handle(self, request: Request, respond: Respond) -> None:
        """Answer a request; see `serve_requests`."""
        try:
            led = self._lead(request)
        except RefusedRequest as refused:
            await respond(refused.response())
            return
        try:
            await self._forward(led, respond)
        except RefusedRequest as refused:
            self._outcomes.failed(led.rule, f"{led.target.node}: {refused}")
            await respond(refused.response())
        else:
            self._outcomes.succeeded(led.rule)

    def _lead(self, request: Request) -> _Led:
        target = rest_target(request.target)
        if target is None:
            text = f"{request.target} is not /NODE/NAMESPACE/PATH"
            raise RefusedRequest(404, "no_rule", text)
        found = self._rulebook.rest.find(target)
        if found is None:
            text = f"no rule of namespace {target.namespace} leads {target.path or '/'} on"
            raise RefusedRequest(404, "no_rule", text)
        rule, rest = found
        wait = self._rulebook.wait_seconds(rule, time.monotonic())
        if wait:
            after = ("Retry-After", str(int(wait) + 1))
            raise RefusedRequest(429, "quota", f"rule {rule} lets no more calls pass", (after,))
        return _Led(request, target, rule, rest)

    async def _forward(self, led: _Led, respond: Respond) -> None:
        try:
            match led.rule.target.type:
                case RuleEndpointType.SERVICEBUS:
                    await self._to_servicebus(led, respond)
                case RuleEndpointType.EVENTBUS:
                    await self._to_eventbus(led, respond)
                case other:
                    text = f"rule {led.rule}: REST requests are not led to {other} here"
                    raise RefusedRequest(501, "no_way", text)
        except NodeAwayError as error:
            raise RefusedRequest(503, "node_away", str(error)) from error
        except NotReachedError as error:
            raise RefusedRequest(502, "not_reached", str(error)) from error
        except NodeSilentError as error:
            raise RefusedRequest(504, "timeout", str(error)) from error

    async def _to_eventbus(self, led: _Led, respond: Respond) -> None:
        body = await self._whole(led.request)
        try:
            payload = body.decode()
        except UnicodeDecodeError:
            raise RefusedRequest(
                415, "not_text", "KubeEdge's eventbus takes text, and this body is none"
            ) from None
        topic = f"{led.rule.target_resource['topic'].rstrip('/')}{led.rest}"
        await self._nodes.tell(led.target.node, publish(self._new_stamp(), topic, payload))
        await respond(text_response(200, "message delivered"))

    async def _to_servicebus(self, led: _Led, respond: Respond) -> None:
        port = int(led.rule.target.properties["service_port"])
        seconds = self._settings.request_seconds
        stream = await self._nodes.open_servicebus(led.target.node, port, seconds)
        if stream is None:
            await self._by_message(led, port, respond)
            return
        async with stream:
            fields = (("Host", f"127.0.0.1:{port}"), *_without_host(led.request.fields))
            request = Request(
                led.request.method, led.path, fields, led.request.body, led.request.length
            )
            await _pass_on(stream, request, seconds, respond)

    async def _by_message(self, led: _Led, port: int, respond: Respond) -> None:
        body = await self._whole(led.request)
        headers = gather_headers(_without_host(led.request.fields))
        asked = Call(led.request.method, CallTarget(port, led.path), headers, body)
        message = call(self._new_stamp(), asked)
        answer = await self._nodes.ask(led.target.node, message, self._settings.request_seconds)
        if not is_reply(answer):
            text = f"node {led.target.node} answered with {answer.route.operation!r}"
            raise RefusedRequest(502, "bad_answer", text)
        try:
            reply = read_reply(answer)
        except MessageError as error:
            text = f"node {led.target.node} answered: {error}"
            raise RefusedRequest(502, "bad_answer", text) from error
        fields = ((name, value) for name, values in reply.headers.items() for value in values)
        await respond(
            Response(reply.status, end_to_end(fields), whole_body(reply.body), len(reply.body))
        )

    async def _whole(self, request: Request) -> bytes:
        limit = self._settings.max_body_bytes
        text = f"a body for this rule has to fit into one Message, {limit} bytes at most"
        if request.length is not None and request.length > limit:
            raise RefusedRequest(413, "too_large", text)
        try:
            return await read_whole(request.body, limit)
        except BodyTooLongError:
            raise RefusedRequest(413, "too_large", text) from None


def _without_host(fields: Fields) -> Fields:
    return tuple((name, value) for name, value in end_to_end(fields) if name.lower() != "host")


async def _pass_on(
    stream: trio.abc.Stream, request: Request, seconds: float, respond: Respond
) -> None:
    begun = False
    try:
        async with exchange(
            stream, request, max_head_bytes=_MAX_HEAD_BYTES, seconds=seconds
        ) as answer:
            begun = True
            await respond(
                Response(answer.status, end_to_end(answer.fields), answer.body, answer.length)
            )
    except HttpError as error:
        if begun:
            # The caller has the head already: it learns by a body that breaks off.
            raise
        silent = isinstance(error, HttpSilentError)
        status, reason = (504, "timeout") if silent else (502, "bad_answer")
        raise RefusedRequest(status, reason, f"the application at the node: {error}") from error
