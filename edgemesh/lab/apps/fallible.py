"""Answers requests with its version and its pod's name, and fails as it is told to.

One request says how it is to be answered by its header fields ``x-fail-status: 503``,
``x-fail-delay: 0.5`` (seconds) and ``x-fail-reset: yes``. ``PUT /control?status=503&delay=0.5`` or
``?reset=yes`` says the same about every request from then on, ``PUT /control`` ends it, and
``GET /control`` tells how many requests there were; they are no requests themselves.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import trio

from edgemesh.lab.apps.requests import Request, Response, serve_requests
from edgemesh.lab.apps.serving import serve_tcp, tell_ready

_CONTROL = "/control"
_STATUSES = frozenset(status.value for status in HTTPStatus if status >= 200)


@dataclass(frozen=True, slots=True)
class Failure:
    """How requests are answered: healthy unless something is said.

    Args:
        status: of the answer.
        delay_seconds: before it.
        resets: the connection is reset instead.
    """

    status: int = 200
    delay_seconds: float = 0.0
    resets: bool = False


HEALTHY = Failure()


def failure_of(told: Mapping[str, str], otherwise: Failure) -> Failure:
    """What the names ``status``, ``delay`` and ``reset`` say; the rest as ``otherwise`` has it.

    Raises:
        ValueError: a value makes no sense.
    """
    status = int(told.get("status", otherwise.status))
    delay = float(told.get("delay", otherwise.delay_seconds))
    if status not in _STATUSES or not 0 <= delay <= 60:
        raise ValueError(f"status {status}, delay {delay}")
    return Failure(status, delay, told.get("reset", "yes" if otherwise.resets else "no") == "yes")


class Server:
    """One pod of an application.

    Args:
        version: of the application.
        pod: its name.
    """

    def __init__(self, version: str, pod: str) -> None:
        self._fields = {"x-version": version, "x-pod": pod}
        self._body = f"{version} {pod}\n".encode()
        self._failure = HEALTHY
        self._requests = 0

    async def answer(self, request: Request) -> Response | None:
        """Answer one request, None to reset its connection."""
        target = urlsplit(request.target)
        try:
            if target.path == _CONTROL:
                return self._control(request.method, dict(parse_qsl(target.query)))
            failure = failure_of(_told_by_fields(request.fields), self._failure)
        except ValueError as error:
            return Response(f"{error}\n".encode(), 400)
        self._requests += 1
        await trio.sleep(failure.delay_seconds)
        return None if failure.resets else Response(self._body, failure.status, self._fields)

    def _control(self, method: str, told: Mapping[str, str]) -> Response:
        if method == "PUT":
            self._failure = failure_of(told, HEALTHY)
        return Response(json.dumps({"requests": self._requests}).encode() + b"\n")


def _told_by_fields(fields: Mapping[str, str]) -> dict[str, str]:
    prefix = "x-fail-"
    return {
        name.removeprefix(prefix): value
        for name, value in fields.items()
        if name.startswith(prefix)
    }


def main() -> None:
    """Read the flags and serve."""
    parser = argparse.ArgumentParser(prog="fallible")
    parser.add_argument("--port", type=int, default=8080)
    server = Server(os.environ.get("VERSION", "v1"), os.environ["HOSTNAME"])
    trio.run(_serve, server, parser.parse_args().port)


async def _serve(server: Server, port: int) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await serve_requests(stream, server.answer)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, handle, port)
        tell_ready()


if __name__ == "__main__":
    main()
