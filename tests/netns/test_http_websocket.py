"""WebSocket through a real agent, between a client and a server of the ``websockets`` library."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket_peers
from interception_lab import PORT, SERVER, SERVICE
from mesh import Mesh, web

from edgemesh.lab.network import command_in

pytestmark = pytest.mark.root

MESSAGES = 10_000
SEED = "seed"
PATIENCE_SECONDS = 90


@contextmanager
def end(namespace: str, role: str, address: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """One end as a process of its own, which is over at the end of the block."""
    argv = [sys.executable, websocket_peers.__file__, role, address, str(port), str(MESSAGES), SEED]
    with subprocess.Popen(
        command_in(namespace, argv), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def seen(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What an end tells when all is over."""
    told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(told)
    return found


def everything_from(role: str) -> dict[str, Any]:
    """What the other end sees when all has gone well."""
    return {
        "received": websocket_peers.digest(f"{SEED} {role}", MESSAGES),
        "pongs": MESSAGES // websocket_peers.PING_EVERY,
        "close_code": 1000,
    }


def test_ten_thousand_messages_each_way_arrive_whole_and_both_ends_see_a_clean_close(
    mesh: Mesh,
) -> None:
    mesh.start()
    mesh.apply(*web("http"))
    with end(mesh.network.server, "serve", SERVER[4], 8080) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listening\n"
        with end(mesh.network.pod, "call", SERVICE[4], PORT) as client:
            assert seen(client) == everything_from("server")
        assert seen(server) == everything_from("client")
    (flow,) = mesh.wait_for_flows(1)
    assert (flow.application_protocol, flow.path, flow.ending) == ("websocket", "http", "closed")
