"""What is said on the connection of a probe, by kind.

Each function says what is wrong with the endpoint, or "" when nothing is. They neither connect
nor look at the clock: a deadline is for who calls.
"""

from __future__ import annotations

from urllib.parse import quote

import trio

from edgemesh.model.flows import AT_ITS_LIMIT, REASON_HEADER
from edgemesh.model.policies import HealthCheck
from edgemesh.wire.grpc_health import HealthCall
from edgemesh.wire.http1.heads import MalformedHead, ResponseHead
from edgemesh.wire.http1.reader import HeadReader

_READ_BYTES = 4096
_CLOSED = "the connection ended before the answer"
# What RFC 3986 lets stand in a path and its query.
_SAFE_IN_TARGET = "/?%:@!$&'()*+,;=-._~"


async def ask_http(
    stream: trio.abc.Stream, check: HealthCheck, authority: str, heads: HeadReader
) -> str:
    """``GET``, up to the head of the answer.

    Args:
        stream: connected.
        check: says which path, which host, and which statuses are healthy ones.
        authority: of the endpoint, where the check names no host.
        heads: reads the answer's.

    Raises:
        trio.BrokenResourceError: the connection was broken off.
    """
    await stream.send_all(_request(check, check.host or authority))
    answer = bytearray()
    begin = 0
    while data := await stream.receive_some(_READ_BYTES):
        answer += data
        try:
            head = heads.read_response(answer, begin)
            while head is not None and head.interim:
                begin += head.size
                head = heads.read_response(answer, begin)
        except MalformedHead as malformed:
            return f"an answer that is not HTTP/1: {malformed.reason}"
        if head is not None:
            return _judge(head, check)
    return _CLOSED


async def ask_grpc(stream: trio.abc.Stream, call: HealthCall) -> str:
    """``grpc.health.v1.Health/Check``.

    Args:
        stream: connected.
        call: that was not begun yet.

    Raises:
        trio.BrokenResourceError: the connection was broken off.
    """
    while call.problem is None:
        if output := call.take_output():
            await stream.send_all(output)
        data = await stream.receive_some(_READ_BYTES)
        if not data:
            return _CLOSED
        call.receive(bytes(data), trio.current_time())
    return call.problem


def _request(check: HealthCheck, host: str) -> bytes:
    return (
        f"GET {quote(check.path, safe=_SAFE_IN_TARGET)} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "User-Agent: edgemesh-health\r\n"
        "Accept: */*\r\n"
        "Connection: close\r\n"
        "\r\n"
    ).encode("latin-1")


def _judge(head: ResponseHead, check: HealthCheck) -> str:
    if head.value(REASON_HEADER) in AT_ITS_LIMIT:
        return ""
    first, last = check.statuses
    return "" if first <= head.status <= last else f"HTTP status {head.status}"
