"""Requests on one connection, timed, and what they cost the agent meanwhile.

Run in a pod as ``python -m edgemesh.lab.demo.timed_calls URL-HOST COUNT BODY-BYTES AGENT-PID``;
prints one JSON object, see ``Timed``. With a body requests are POST, else GET. Before time counts,
a few requests let the agent find out how the connection is used.
"""

from __future__ import annotations

import json
import re
import socket
import statistics
import sys
import time
from typing import NamedTuple

_PORT = 80
_UNTIMED = 20
_TIMEOUT_SECONDS = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
# linux/posix-timers.h: a process's clock is made of its number, and this is the scheduler's time.
_SCHEDULED = 2


class Timed(NamedTuple):
    """What came of the requests.

    Args:
        port: the caller's own.
        peer: the address that the caller believes to be connected to.
        seconds: that the median of the requests took.
        agent_seconds: of processor time that each cost the agent.
    """

    port: int
    peer: str
    seconds: float
    agent_seconds: float


def main() -> None:
    """Make the requests and print what came of them."""
    host, *numbers = sys.argv[1:]
    print(json.dumps(time_requests(host, *map(int, numbers))._asdict()))  # noqa: T201


def time_requests(host: str, count: int, body_bytes: int, agent: int) -> Timed:
    """Make requests, each after the answer to the one before."""
    request = _request(host, body_bytes)
    with socket.create_connection((host, _PORT), _TIMEOUT_SECONDS) as connection:
        for _ in range(_UNTIMED):
            _ask(connection, request)
        before = _processor_seconds(agent)
        latencies = [_ask(connection, request) for _ in range(count)]
        cost = (_processor_seconds(agent) - before) / count
        port, peer = connection.getsockname()[1], connection.getpeername()[0]
        return Timed(port, peer, statistics.median(latencies), cost)


def _request(host: str, body_bytes: int) -> bytes:
    fields = f"Host: {host}\r\nContent-Length: {body_bytes}\r\n"
    method = "POST" if body_bytes else "GET"
    return f"{method} / HTTP/1.1\r\n{fields}\r\n".encode() + bytes(body_bytes)


def _ask(connection: socket.socket, request: bytes) -> float:
    began = time.perf_counter()
    connection.sendall(request)
    received = b""
    while not _is_complete(received):
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("closed amid an answer")
        received += data
    return time.perf_counter() - began


def _is_complete(received: bytes) -> bool:
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    found = _LENGTH.search(head)
    if found is None or not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(head.decode(errors="replace"))
    return len(body) >= int(found[1])


def _processor_seconds(process: int) -> float:
    """Processor time that a process has used (clock_getcpuclockid(3))."""
    return time.clock_gettime((~process << 3) | _SCHEDULED)


if __name__ == "__main__":
    main()
