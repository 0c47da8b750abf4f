"""Requests for a while, and how many of them failed: load for scenarios, from within a pod.

    python -m edgemesh.lab.load URL [--kept]

Requests go one after the other until SIGTERM; then one line of JSON tells what came of them. Each
has a connection of its own, or all share one (``--kept``): then one that ends is a failure,
and a new one follows.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import time
import urllib.parse
from contextlib import closing
from dataclasses import asdict, dataclass, field

_TIMEOUT_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_FAILURES_TOLD = 5


@dataclass(slots=True)
class Load:
    """What came of the requests.

    Args:
        served: by which server, and how often.
        failed: how many were not answered by 200.
        failures: the first of them, as people read it.
        longest_seconds: that a request took, also one that failed.
    """

    served: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    longest_seconds: float = 0.0


def make_requests(host: str, port: int, *, kept: bool) -> Load:
    """Make one request after the other until SIGTERM, which the caller has blocked."""
    load = Load()
    go_on = True
    while go_on:
        with closing(
            http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        ) as connection:
            while _ask(connection, load, kept=kept) and kept and go_on:
                go_on = _pause()
        go_on = go_on and _pause()
    return load


def _pause() -> bool:
    """Wait until it is time for the next request; return False when it is time to end."""
    return signal.sigtimedwait({signal.SIGTERM}, _PAUSE_SECONDS) is None


def _ask(connection: http.client.HTTPConnection, load: Load, *, kept: bool) -> bool:
    """Make one request; return whether the connection can carry another."""
    begin = time.monotonic()
    try:
        connection.request("GET", "/", headers={} if kept else {"Connection": "close"})
        response = connection.getresponse()
        text = response.read().decode(errors="replace").strip()
        problem = "" if response.status == http.HTTPStatus.OK else f"{response.status} {text}"
    except (OSError, http.client.HTTPException) as error:
        problem = f"{type(error).__name__}: {error}"
    load.longest_seconds = max(load.longest_seconds, time.monotonic() - begin)
    if not problem:
        load.served[text] = load.served.get(text, 0) + 1
        return True
    load.failed += 1
    if len(load.failures) < _FAILURES_TOLD:
        load.failures.append(problem)
    return False


def main() -> None:
    """Read the command line, make the requests, and tell what came of them."""
    parser = argparse.ArgumentParser(prog="python -m edgemesh.lab.load")
    parser.add_argument("url")
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    url = urllib.parse.urlsplit(options.url)
    load = make_requests(url.hostname or "", url.port or 80, kept=options.kept)
    print(json.dumps(asdict(load)))  # noqa: T201  # what this program is for


if __name__ == "__main__":
    main()
