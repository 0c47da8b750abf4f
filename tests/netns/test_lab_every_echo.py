"""The app that speaks every protocol, called by the demo's own calls over real sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from edgemesh.lab.network import command_in
from edgemesh.lab.processes import end, last_line, start

pytestmark = pytest.mark.root


@pytest.fixture
def every_echo(lone_node: str, tmp_path: Path) -> Iterator[str]:
    """The namespace of the app."""
    reader, writer = os.pipe()
    log = tmp_path / "log"
    argv = [sys.executable, "-m", "edgemesh.lab.apps.every_echo"]
    variables = {"PATH": os.environ["PATH"], "HOSTNAME": "pod-1"}
    process = start(command_in(lone_node, argv), log, variables, ready=writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as word:
            assert word.read() == b"ready\n", last_line(log)
        yield lone_node
    finally:
        trio.run(end, [process], 5.0)


@pytest.mark.parametrize(
    ("kind", "port", "answer"),
    [
        ("grpc", 9000, {"status": "0", "pod": "pod-1", "equal": True}),
        ("websocket", 8081, {"status": "HTTP/1.1 101 Switching Protocols", "equal": True}),
        ("datagrams", 5300, {"equal": [True, True, True]}),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_protocol_is_answered(
    every_echo: str, host: str, kind: str, port: int, answer: dict[str, object]
) -> None:
    argv = [sys.executable, "-m", "edgemesh.lab.demo.calls", kind, host, str(port)]
    done = subprocess.run(command_in(every_echo, argv), capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert said.pop("port") > 0
    assert said == answer


def test_http_says_which_pod_it_is(every_echo: str) -> None:
    argv = command_in(every_echo, ["curl", "-sS", "http://127.0.0.1:8080/"])
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"pod-1\n"
